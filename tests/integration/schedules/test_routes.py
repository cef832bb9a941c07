"""The documented routes: create, read, change, delete, and what each refuses."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.schedules import copy_agent, create, fire_every, task, unique


async def test_a_schedule_lives_from_create_to_delete(api: httpx.AsyncClient) -> None:
    name = unique("daily")
    made = await create(api, name, description="Every morning", timezone="UTC")
    assert made["flow_id"] == name
    assert made["cron_expression"] == "00 08 * * *"
    assert made["is_enabled"] is True
    assert made["description"] == "Every morning"
    assert made["next_execution_at"].endswith("T08:00:00+00:00")
    assert (made["last_execution_at"], made["execution_count"]) == (None, 0)
    for path in (f"/schedule/{name}", f"/api/schedule/agent-run/{name}"):
        assert (await api.get(path)).json() == made
    assert made in (await api.get("/api/schedule")).json()

    changed = (await api.put(f"/schedule/{name}", json={"cron_expression": "30 9 * * 1-5"})).json()
    assert changed["cron_expression"] == "30 9 * * 1-5"
    assert changed["description"] == "Every morning"
    off = (await api.put(f"/schedule/{name}", json={"is_enabled": False})).json()
    assert (off["is_enabled"], off["next_execution_at"]) == (False, None)

    gone = await api.delete(f"/schedule/{name}")
    assert gone.json() == {"message": f"Schedule deleted for flow {name}"}
    for answer in (await api.get(f"/schedule/{name}"), await api.delete(f"/schedule/{name}")):
        assert answer.status_code == 404
        assert answer.json() == {"detail": f"Schedule not found for flow {name}"}


async def test_null_is_a_schedule_without_times(api: httpx.AsyncClient) -> None:
    name = unique("later")
    made = await create(api, name, cron_expression=None)
    assert (made["cron_expression"], made["next_execution_at"]) == (None, None)
    timed = await api.put(f"/schedule/{name}", json={"cron_expression": "@daily"})
    assert timed.json()["next_execution_at"] is not None
    untimed = await api.put(f"/schedule/{name}", json={"cron_expression": None})
    assert untimed.json()["next_execution_at"] is None
    await api.delete(f"/schedule/{name}")


async def test_each_spelling_of_a_deployment_comes_back_as_it_was_given(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("spelled.name")
    deployment = await copy_agent(prefect, name)
    for flow_id in (str(deployment), f"agent-run/{name}", name):
        body = {"flow_id": flow_id, "cron_expression": "0 8 * * *"}
        made = (await api.post("/schedule", json=body)).json()
        assert made["flow_id"] == flow_id
        second = await api.post("/schedule", json={**body, "flow_id": name})
        assert second.status_code == 409
        assert second.json() == {"detail": f"Schedule already exists for flow {name}"}
        assert (await api.delete(f"/schedule/{flow_id}")).status_code == 200


async def test_a_bare_name_that_two_deployments_have_is_ambiguous(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("twin")
    await copy_agent(prefect, name)
    other = await prefect.read_deployment_by_name("backend-flow/backend")
    await prefect.create_deployment(flow_id=other.flow_id, name=name)
    answer = await api.post("/schedule", json={"flow_id": name, "cron_expression": "@daily"})
    assert answer.status_code == 409
    assert f"agent-run/{name}, backend-flow/{name}" in answer.json()["detail"]


async def test_two_creates_at_once_make_one(api: httpx.AsyncClient, prefect: PrefectClient) -> None:
    name = unique("raced")
    made = [{"flow_id": name, "cron_expression": "@daily", "task": task()}] * 2
    both = await asyncio.gather(*(api.post("/schedule", json=body) for body in made))
    assert sorted(answer.status_code for answer in both) == [200, 409]
    other = unique("raced")
    await copy_agent(prefect, other)
    bodies = [
        {"flow_id": one, "cron_expression": "@daily"} for one in (other, f"agent-run/{other}")
    ]
    both = await asyncio.gather(*(api.post("/schedule", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in both) == [200, 409]
    kept = await prefect.read_deployment_by_name(f"agent-run/{other}")
    assert len(kept.schedules) == 1
    for one in (name, other):
        await api.delete(f"/schedule/{one}")


@pytest.mark.parametrize(
    "cron", ["", " ", "* * * *", "* * * * * *", "*/0 * * * *", "@reboot", "R * * * *", "x" * 60_000]
)
async def test_bad_cron_is_refused(api: httpx.AsyncClient, cron: str) -> None:
    body = {"flow_id": unique("bad"), "cron_expression": cron, "task": task()}
    answer = await api.post("/schedule", json=body)
    assert answer.status_code == 400
    assert answer.json() == {"detail": "Invalid cron expression format"}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"timezone": "Mars/Olympus"}, 400),
        ({"timezone": "../../etc/passwd"}, 400),
        ({"timezone": ""}, 400),
        ({"unknown": 1}, 422),
        ({"catchup": "sometimes"}, 422),
        ({"is_enabled": "perhaps"}, 422),
        ({"flow_id": ""}, 422),
        ({"flow_id": "a\x00b"}, 422),
        ({"flow_id": "other-flow/deployment"}, 404),
        ({"flow_id": "a/b/c"}, 404),
        ({"flow_id": "../.."}, 404),
        ({"flow_id": "100%"}, 404),
        ({"task": {**task(), "upload_files_path": "/etc/passwd"}}, 422),
    ],
)
async def test_bad_bodies_are_refused(
    api: httpx.AsyncClient, more: dict[str, object], status: int
) -> None:
    body = {"flow_id": unique("bad"), "cron_expression": "@daily", "task": task(), **more}
    answer = await api.post("/schedule", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


async def test_a_name_of_nothing_is_not_found(api: httpx.AsyncClient) -> None:
    body = {"flow_id": "no-such-flow", "cron_expression": "@daily"}
    assert (await api.post("/schedule", json=body)).status_code == 404
    for path in ("no-such-flow", "a/b", "a.b/../c", "%00", "%23", "a%2Fb", "x" * 900):
        for method in ("GET", "PUT", "DELETE"):
            answer = await api.request(
                method, f"/schedule/{path}", json={} if method == "PUT" else None
            )
            assert answer.status_code == 404, (method, path, answer.text)


async def test_what_rest_cannot_say_it_does_not_overwrite(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("interval")
    deployment = await copy_agent(prefect, name)
    await fire_every(prefect, deployment, 86_400, datetime.now(UTC).replace(microsecond=0), "a")
    answer = await api.put(f"/schedule/{name}", json={"cron_expression": "@daily"})
    assert answer.status_code == 409
    assert "interval" in answer.json()["detail"]
    await fire_every(prefect, deployment, 86_400, datetime.now(UTC).replace(microsecond=0), "b")
    answer = await api.delete(f"/schedule/{name}")
    assert answer.status_code == 409
    assert f"agent-run/{name}#b" in answer.json()["detail"]
    for slug in ("b", "a"):
        answer = await api.delete(f"/schedule/agent-run/{name}%23{slug}")
        assert answer.status_code == 200, answer.text


async def test_a_change_that_is_refused_changes_nothing(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("paused")
    deployment = await copy_agent(prefect, name)
    body = {"flow_id": name, "cron_expression": "@daily"}
    assert (await api.post("/schedule", json=body)).status_code == 200
    await prefect.pause_deployment(deployment)
    change = {"is_enabled": True, "task": task("Say goodbye")}
    answer = await api.put(f"/schedule/{name}", json=change)
    assert answer.status_code == 409, answer.text
    assert "was not made for a task" in answer.json()["detail"]
    assert (await prefect.read_deployment(deployment)).paused
    await api.delete(f"/schedule/{name}")


async def test_policies_and_descriptions_show_on_the_deployment(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("policies")
    await create(api, name, catchup="all", overlap="skip")
    deployment = await prefect.read_deployment_by_name(f"agent-run/{name}")
    assert {"catchup:all", "overlap:skip"} <= set(deployment.tags)
    body = {"overlap": "queue-all", "description": "New", "task": task("Say goodbye")}
    assert (await api.put(f"/schedule/{name}", json=body)).json()["description"] == "New"
    deployment = await prefect.read_deployment_by_name(f"agent-run/{name}")
    assert {"catchup:all", "overlap:queue-all"} <= set(deployment.tags)
    assert deployment.parameters["task_description"] == "Say goodbye"
    await api.delete(f"/schedule/{name}")


async def test_a_policy_is_that_of_the_schedule_that_was_named(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("two")
    deployment = await copy_agent(prefect, name)
    first = datetime.now(UTC).replace(microsecond=0)
    for slug in ("a", "b", None):
        await fire_every(prefect, deployment, 86_400, first, slug)
    path = f"/schedule/agent-run/{name}%23"
    answer = await api.put(f"{path}b", json={"overlap": "skip"})
    assert answer.status_code == 200, answer.text
    assert (await prefect.read_deployment(deployment)).tags == ["overlap:skip@b"]
    nameless = next(
        one for one in (await prefect.read_deployment(deployment)).schedules if one.slug is None
    )
    answer = await api.put(f"{path}{nameless.id}", json={"overlap": "skip", "is_enabled": False})
    assert answer.status_code == 409, answer.text
    assert "has no slug" in answer.json()["detail"]
    assert all(one.active for one in (await prefect.read_deployment(deployment)).schedules)
