"""Schedules over minutes: on time, through kills and downtime, and by the thousand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import FlowRun

from tests.support.eventually import eventually
from tests.support.schedules import copy_agent, create, due_runs, fire_every, task, unique
from tests.support.stack import LiveStack, own_stack
from tests.support.tasks import reaches
from vibesurf_blocks.tasks import Status

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3_000)]

KILL_SECONDS = float(os.environ.get("VIBESURF_CHAOS_INTERVAL", "30"))
"""Seconds between two occurrences while parts are killed."""


@pytest.fixture
def own() -> Iterator[LiveStack]:
    """A stack that the test may kill and start again."""
    with own_stack() as stack:
        yield stack


async def until(moment: datetime) -> None:
    """Wait for a time of day: what these tests are about."""
    await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def lateness(runs: list[FlowRun]) -> list[float]:
    """Seconds from due to started, of each run."""
    return [
        (run.start_time - run.expected_start_time).total_seconds()
        for run in runs
        if run.start_time is not None and run.expected_start_time is not None
    ]


async def deployment_of(client: PrefectClient, name: str) -> UUID:
    return (await client.read_deployment_by_name(f"agent-run/{name}")).id


async def test_ten_minutes_on_time(own: LiveStack) -> None:
    async with own.http() as api, own.prefect() as client:
        name = unique("minutely")
        await create(api, name, cron_expression="* * * * *", timezone="UTC")
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        await until(minute + timedelta(minutes=10, seconds=20))
        runs = await due_runs(client, await deployment_of(client, name))
        print("lateness", sorted(lateness(runs)))
        assert len(runs) >= 10
        assert max(lateness(runs)) <= 1.0


async def test_ten_minutes_with_an_edit_just_before_each(own: LiveStack) -> None:
    async with own.http() as api, own.prefect() as client:
        name = unique("edited")
        await create(api, name, cron_expression="* * * * *", timezone="UTC")
        deployment = await deployment_of(client, name)
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        for number in range(1, 11):
            ahead = timedelta(seconds=random.uniform(0.05, 1.0))
            await until(minute + timedelta(minutes=number) - ahead)
            await client.update_deployment(deployment, DeploymentUpdate(description=f"{number}"))
        await until(minute + timedelta(minutes=10, seconds=20))
        runs = await due_runs(client, deployment)
        print("lateness", sorted(lateness(runs)))
        wanted = [minute + timedelta(minutes=number) for number in range(1, 11)]
        assert [run.expected_start_time for run in runs] == wanted


async def test_downtime_over_three_occurrences(own: LiveStack) -> None:
    policies = ("skip", "latest", "all")
    async with own.http() as api, own.prefect() as client:
        for catchup in policies:
            await create(
                api,
                catchup,
                cron_expression="* * * * *",
                timezone="UTC",
                catchup=catchup,
                overlap="queue-all",
            )
        minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        await until(minute + timedelta(seconds=20))
        own.stop()
        await until(minute + timedelta(minutes=3, seconds=45))
        own.start()
        missed = [minute + timedelta(minutes=number) for number in (1, 2, 3)]
        for catchup, kept in zip(policies, (0, 1, 3), strict=True):
            deployment = await deployment_of(client, catchup)

            async def decided(of: UUID = deployment) -> list[FlowRun]:
                runs = [r for r in await due_runs(client, of) if r.expected_start_time in missed]
                done = all(run.state is not None and run.state.is_final() for run in runs)
                return runs if done and len(runs) == len(missed) else []

            runs = await eventually(decided, timeout=60)
            ran = [run.run_count > 0 for run in runs]
            assert ran == [False] * (3 - kept) + [True] * kept, catchup
            for run in runs[: 3 - kept]:
                row = await reaches(api, str(run.id), Status.STOPPED)
                reason = f"Skipped: missed while nothing ran; catchup={catchup}."
                assert row["error_message"] == reason
            every = [run for run in await due_runs(client, deployment) if run.run_count > 0]
            await count_is(api, catchup, len(every))


async def count_is(api: httpx.AsyncClient, flow_id: str, count: int) -> None:
    """Wait until the row says that so many occurrences were started, at the least."""

    async def counted() -> bool:
        with contextlib.suppress(httpx.TransportError):  # it may just have been killed
            answer = await api.get(f"/schedule/{flow_id}")
            return answer.is_success and answer.json()["execution_count"] >= count
        return False

    await eventually(counted, timeout=30)


async def test_kills_over_thirty_occurrences(own: LiveStack) -> None:
    async with own.http() as api, own.prefect() as client:
        name = unique("killed")
        deployment = await copy_agent(client, name)
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
        schedule = await fire_every(client, deployment, KILL_SECONDS, first, "kills")
        end = first + timedelta(seconds=KILL_SECONDS * 29 + KILL_SECONDS / 2)
        killed: Counter[str] = Counter()
        while datetime.now(UTC) < end:
            await asyncio.sleep(random.uniform(KILL_SECONDS / 4, KILL_SECONDS))
            part = random.choice(("mirror", "worker", "api", "prefect"))
            with contextlib.suppress(psutil.NoSuchProcess, AssertionError):
                own.part(part).kill()
                killed[part] += 1

        async def off() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                await client.update_deployment_schedule(deployment, schedule.id, active=False)
                return True
            return False

        await eventually(off, timeout=60)
        wanted = [first + timedelta(seconds=KILL_SECONDS * number) for number in range(30)]

        async def ended() -> list[FlowRun]:
            runs = [
                r for r in await due_runs(client, deployment) if r.expected_start_time in wanted
            ]
            done = all(run.state is not None and run.state.is_final() for run in runs)
            return runs if done else []

        runs = await eventually(ended, timeout=120)
        names = Counter(run.state.name if run.state else None for run in runs)
        print("killed", killed, "ended", names, "lateness", sorted(lateness(runs))[-5:])
        assert [run.expected_start_time for run in runs] == wanted
        started = [run for run in await due_runs(client, deployment) if run.run_count > 0]
        path = f"agent-run/{name}"
        await count_is(api, path, len(started))
        assert (await api.get(f"/schedule/{path}")).json()["execution_count"] == len(started)


async def test_a_hundred_creates_sixteen_at_a_time_with_eight_readers(own: LiveStack) -> None:
    async with own.http() as api, own.prefect() as client:
        await make_many(api, 100, at_once=16, readers=8)
        assert await counts(api, client) == (100, 100)
    own.stop()
    own.start()
    async with own.http() as api, own.prefect() as client:
        assert await counts(api, client) == (100, 100)


async def test_a_thousand_schedules_due_in_the_same_minute(own: LiveStack) -> None:
    async with own.http() as api:
        made = await make_many(api, 1_000, at_once=16, readers=1, enabled=False)
        print(f"1,000 creates took {made:.0f} s")
        begun = time.monotonic()
        assert len((await api.get("/schedule")).json()) == 1_000
        print(f"the list took {time.monotonic() - begun:.2f} s")
        due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=10)
        gate = asyncio.Semaphore(8)

        async def enable(number: int) -> None:
            async with gate:
                body = {"cron_expression": f"{due.minute} {due.hour} * * *", "is_enabled": True}
                answer = await api.put(f"/schedule/many-{number}", json=body)
                assert answer.status_code == httpx.codes.OK, answer.text

        await asyncio.gather(*(enable(number) for number in range(1_000)))
        assert datetime.now(UTC) < due, "enabling took longer than planned"
        await until(due + timedelta(seconds=30))
        slowest = 0.0
        for _ in range(50):
            begun = time.monotonic()
            assert (await api.get("/tasks/status")).status_code == httpx.codes.OK
            slowest = max(slowest, time.monotonic() - begun)
        print(f"slowest status while they are due: {slowest:.2f} s")
        assert slowest < 5

        async def all_ended() -> bool:
            rows = (await api.get("/schedule")).json()
            return sum(int(row["execution_count"]) for row in rows) == 1_000

        await eventually(all_ended, timeout=2_400, pause=5)


async def make_many(
    api: httpx.AsyncClient, count: int, *, at_once: int, readers: int, enabled: bool = True
) -> float:
    """Create so many schedules, none of which may fail; the seconds it took."""
    gate = asyncio.Semaphore(at_once)
    body = {"cron_expression": "00 08 * * *", "task": task(), "is_enabled": enabled}

    async def one(number: int) -> None:
        async with gate:
            asked = {**body, "flow_id": f"many-{number}"}
            answer = await api.post("/schedule", json=asked, timeout=120)
            assert answer.status_code == httpx.codes.OK, answer.text

    async def read() -> None:
        while True:
            answer = await api.get("/schedule")
            assert answer.status_code == httpx.codes.OK, answer.text

    begun = time.monotonic()
    reading = [asyncio.create_task(read()) for _ in range(readers)]
    await asyncio.gather(*(one(number) for number in range(count)))
    for reader in reading:
        assert not reader.done()
        reader.cancel()
    return time.monotonic() - begun


async def counts(api: httpx.AsyncClient, client: PrefectClient) -> tuple[int, int]:
    """Rows, and schedules in Prefect."""
    deployments = await client.read_deployments(limit=200)
    rows = (await api.get("/schedule")).json()
    return len(rows), sum(len(one.schedules) for one in deployments)
