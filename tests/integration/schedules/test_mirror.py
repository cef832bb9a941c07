"""The rows of `schedules` follow Prefect, and no edit loses an occurrence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule

from tests.support.eventually import eventually, slowness
from tests.support.schedules import copy_agent, create, due_runs, fire_every, unique
from tests.support.stack import LiveStack

SHOWN_SECONDS = 3.0
"""A second on an idle machine; tests run on a busy one. More on a slow one: see `slowness`."""


async def shows(
    api: httpx.AsyncClient, flow_id: str, wanted: Callable[[dict[str, Any]], bool]
) -> float:
    """Wait until the row is as wanted; the seconds it took."""

    async def asked() -> bool:
        answer = await api.get(f"/schedule/{flow_id}")
        return answer.is_success and wanted(answer.json())

    begun = monotonic()
    await eventually(asked, timeout=SHOWN_SECONDS, pause=0.02)
    return monotonic() - begun


async def soon(seconds: float) -> datetime:
    """A whole second at least so far ahead."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds + 1)


async def ran(api: httpx.AsyncClient, flow_id: str, count: int) -> dict[str, Any]:
    """Wait until so many occurrences were started; the row."""

    async def counted() -> dict[str, Any] | None:
        row: dict[str, Any] = (await api.get(f"/schedule/{flow_id}")).json()
        return row if row.get("execution_count", -1) >= count else None

    row = await eventually(counted, timeout=30)
    assert row is not None
    return row


async def test_what_is_edited_in_prefect_shows(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("edited")
    made = await create(api, name, timezone="UTC")
    deployment = (await prefect.read_deployment_by_name(f"agent-run/{name}")).id
    schedule = UUID(made["id"])
    await prefect.update_deployment_schedule(deployment, schedule, active=False)
    await shows(api, name, lambda row: not row["is_enabled"] and row["next_execution_at"] is None)
    cron = CronSchedule(cron="15 3 * * *", timezone="UTC")
    await prefect.update_deployment_schedule(deployment, schedule, active=True, schedule=cron)
    await shows(api, name, lambda row: "T03:15:00+00:00" in str(row["next_execution_at"]))
    await prefect.pause_deployment(deployment)
    await shows(api, name, lambda row: not row["is_enabled"])
    assert (await api.put(f"/schedule/{name}", json={"is_enabled": True})).json()["is_enabled"]
    await prefect.update_deployment(deployment, DeploymentUpdate(description="By hand"))
    await shows(api, name, lambda row: row["description"] == "By hand")
    await prefect.delete_deployment(deployment)
    await gone(api, name)


async def gone(api: httpx.AsyncClient, flow_id: str) -> None:
    """Wait until there is no such schedule."""

    async def missing() -> bool:
        return (await api.get(f"/schedule/{flow_id}")).status_code == httpx.codes.NOT_FOUND

    await eventually(missing, timeout=SHOWN_SECONDS + 2)


async def test_several_schedules_of_any_kind_are_rows_of_their_own(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("several")
    deployment = await copy_agent(prefect, name)
    path = f"agent-run/{name}"
    wanted = [
        DeploymentScheduleCreate(schedule=CronSchedule(cron="0 8 * * *", timezone="UTC"), slug="a"),
        DeploymentScheduleCreate(
            schedule=RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=13;BYMINUTE=0;BYSECOND=0"), slug="b"
        ),
    ]
    for one in wanted:
        await prefect.create_deployment_schedules(deployment, [one])
    await shows(api, path, lambda row: row["cron_expression"] == "0 8 * * *")
    await shows(
        api,
        f"{path}%23b",
        lambda row: row["cron_expression"] is None and "T13:00:00" in str(row["next_execution_at"]),
    )
    await prefect.delete_deployment(deployment)
    await gone(api, path)
    await gone(api, f"{path}%23b")


async def test_each_started_occurrence_counts_once(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("counted")
    deployment = await copy_agent(prefect, name)
    first = await soon(2)
    schedule = await fire_every(prefect, deployment, 4, first)
    row = await ran(api, f"agent-run/{name}", 2)
    await prefect.update_deployment_schedule(deployment, schedule.id, active=False)
    started = [run for run in await due_runs(prefect, deployment) if run.start_time is not None]
    row = await ran(api, f"agent-run/{name}", len(started))
    assert row["execution_count"] == len(started)
    last = max(run.start_time for run in started if run.start_time is not None)
    assert datetime.fromisoformat(row["last_execution_at"]) == last
    assert [run.expected_start_time for run in started[:2]] == [first, first + timedelta(seconds=4)]
    await prefect.delete_deployment(deployment)


async def test_an_edit_just_before_an_occurrence_drops_nothing(
    api: httpx.AsyncClient, prefect: PrefectClient, stack: LiveStack
) -> None:
    name = unique("kept")
    deployment = await copy_agent(prefect, name)
    first = await soon(4)
    await fire_every(prefect, deployment, 3_600, first)
    await shows(api, f"agent-run/{name}", lambda row: row["next_execution_at"] is not None)

    async def nearly() -> bool:
        return datetime.now(UTC) > first - timedelta(seconds=0.25)

    await eventually(nearly, timeout=10, pause=0.01)
    await prefect.update_deployment(deployment, DeploymentUpdate(description="Unrelated"))
    await ran(api, f"agent-run/{name}", 1)
    assert [run.expected_start_time for run in await due_runs(prefect, deployment)] == [first]
    await prefect.delete_deployment(deployment)


async def test_a_schedule_made_just_now_fires_on_time(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    name = unique("prompt")
    deployment = await copy_agent(prefect, name)
    first = await soon(2)
    await fire_every(prefect, deployment, 3_600, first)
    row = await ran(api, f"agent-run/{name}", 1)
    late = datetime.fromisoformat(row["last_execution_at"]) - first
    assert late < timedelta(seconds=SHOWN_SECONDS * slowness())
    await prefect.delete_deployment(deployment)


async def test_a_deleted_schedule_leaves_its_run_alone(
    api: httpx.AsyncClient, prefect: PrefectClient, hold: Callable[[], Awaitable[str]]
) -> None:
    page = await hold()
    name = unique("active")
    deployment = await copy_agent(prefect, name, f"Read {page}")
    await fire_every(prefect, deployment, 3_600, await soon(1))
    await ran(api, f"agent-run/{name}", 1)
    assert (await api.delete(f"/schedule/{name}")).status_code == httpx.codes.OK
    assert (await api.get(f"/schedule/{name}")).status_code == httpx.codes.NOT_FOUND
    run = (await due_runs(prefect, deployment))[0]
    assert run.state is not None
    assert run.state.is_running()
