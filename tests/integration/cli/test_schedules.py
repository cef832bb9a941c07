"""`vibesurf-blocks schedules`, and when a schedule fires next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.commands import command
from tests.support.schedules import copy_agent, create, fire_every, unique
from tests.support.stack import LiveStack
from vibesurf_blocks.schedules.cron import next_time


async def test_a_schedule_is_added_seen_changed_and_removed(
    stack: LiveStack, api: httpx.AsyncClient
) -> None:
    name = unique("nightly")
    task = ["--task", "Read https://example.org/", "--session", "cli-nightly"]
    added = await command(
        stack.api,
        *["schedules", "add", name, "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", *task],
        *["--catchup", "latest", "--description", "Jede Nacht [b]", "--json"],
    )
    assert added.code == 0, added.err
    assert added.json == (await api.get(f"/schedule/{name}")).json()
    listed = await command(stack.api, "schedules", "list")
    (line,) = [one for one in listed.out.splitlines() if name in one]
    assert "30 2 * * *" in line
    assert "Jede Nacht [b]" in line
    again = await command(stack.api, "schedules", "add", name, "--cron", "@daily", *task)
    assert (again.code, f"already exists for flow {name}" in again.words) == (1, True)

    times = (await command(stack.api, "schedules", "next", name, "--count", "3", "--json")).json
    assert (times["timezone"], times["is_enabled"]) == ("Europe/Berlin", True)
    moment = datetime.now(UTC)
    for one in times["times"]:
        expected = next_time("30 2 * * *", "Europe/Berlin", moment)
        assert expected is not None
        assert datetime.fromisoformat(one) == expected
        moment = expected
    assert times["times"][0] == added.json["next_execution_at"]
    shown = await command(stack.api, "schedules", "next", name, "--count", "3")
    assert shown.out.count(" 02:30:00 ") == 3
    assert "in Europe/Berlin" in shown.out

    edited = await command(
        stack.api, "schedules", "edit", name, "--cron", "0 5 * * 1", "--disable", "--json"
    )
    assert edited.json["cron_expression"] == "0 5 * * 1"
    assert (edited.json["is_enabled"], edited.json["description"]) == (False, "Jede Nacht [b]")
    shown = await command(stack.api, "schedules", "next", name)
    assert shown.out.count(" 05:00:00 ") == 5
    assert "It is disabled" in shown.out
    cleared = await command(stack.api, "schedules", "edit", name, "--no-times", "--json")
    assert cleared.json["cron_expression"] is None
    assert (await command(stack.api, "schedules", "next", name, "--json")).json["times"] == []

    removed = await command(stack.api, "schedules", "remove", name)
    assert (removed.code, removed.words) == (0, f"Schedule deleted for flow {name}")
    for words in (["remove", name], ["next", name], ["edit", name, "--enable"]):
        said = await command(stack.api, "schedules", *words)
        assert (said.code, f"Schedule not found for flow {name}" in said.words) == (1, True)


async def test_what_cannot_be_is_said_in_words(stack: LiveStack, api: httpx.AsyncClient) -> None:
    name = unique("refused")
    for words, code, sentence in (
        (["add", name, "--cron", "x y", "--task", "t"], 1, "Invalid cron expression format"),
        (["add", name, "--cron", "@daily"], 1, f"No deployment is named {name}"),
        (["add", name, "--catchup", "never"], 2, "Invalid value for '--catchup'"),
        (["edit", name], 2, "Nothing to change"),
        (["edit", name, "--cron", "@daily", "--no-times"], 2, "not both"),
        (["next", name, "--count", "0"], 2, "Invalid value for '--count'"),
    ):
        said = await command(stack.api, "schedules", *words)
        assert (said.code, sentence in said.words) == (code, True), said


async def test_the_next_times_of_schedules_of_any_kind_and_name(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    """Also of several of one deployment, of an interval, and of a deployment named as a route."""
    name = unique("times")
    deployment = await copy_agent(prefect, name)
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    await fire_every(prefect, deployment, 3_600, first, slug="hourly")
    for flow_id in (name, f"agent-run/{name}", str(deployment), f"agent-run/{name}%23hourly"):
        answer = await api.get(f"/schedule-times/{flow_id}", params={"count": 2})
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert (said["cron_expression"], said["timezone"]) == (None, "UTC")
        soonest = [datetime.fromisoformat(one) for one in said["times"]]
        assert soonest[1] - soonest[0] == timedelta(hours=1)
        assert (soonest[0] - first).total_seconds() % 3_600 == 0
    await prefect.delete_deployment(deployment)


@pytest.mark.parametrize("count", ["0", "101", "x"])
async def test_a_count_has_its_limits(api: httpx.AsyncClient, count: str) -> None:
    name = unique("counted")
    await create(api, name)
    answer = await api.get(f"/api/schedule-times/{name}", params={"count": count})
    assert answer.status_code == 422
    assert (await api.get(f"/api/schedule-times/{name}")).status_code == 200
    assert (await api.get("/schedule-times/nix%00")).status_code == 404
    await api.delete(f"/schedule/{name}")
