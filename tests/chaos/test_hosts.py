"""Several hosts while their parts are killed, and while the network of one is cut."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from tests.support.control import state_of
from tests.support.databases import fresh, server_of
from tests.support.eventually import eventually
from tests.support.fleet import POOL, Fleet, redis_url, running_fleet
from tests.support.namespaces import Network, network, relay
from tests.support.site import Site
from tests.support.tasks import SLOW_SECONDS, Json, body, completes, post, row_of
from tests.support.turnstile import Turnstile
from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.tasks import Status

__all__ = ["redis_url"]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(2 * 3_600)]

SUBMITS = int(os.environ.get("VIBESURF_CHAOS_SUBMITS", "200"))
KILLS = int(os.environ.get("VIBESURF_CHAOS_KILLS", "50"))
SEED = int(os.environ.get("VIBESURF_CHAOS_SEED", "1"))
WAITING = 12
"""Tasks that are accepted and have not ended, at the most."""

RIGHT_SECONDS = 30.0


class Workload:
    """Tasks submitted through both APIs, again and again until each is accepted, once."""

    def __init__(self, fleet: Fleet, turnstile: Turnstile) -> None:
        self.fleet = fleet
        self.turnstile = turnstile
        self.ids: dict[int, str] = {}
        self.rows: dict[str, Json] = {}
        self.refused = 0

    async def run(self, choose: random.Random) -> None:
        """Submit all, and wait for the end of each."""
        free = asyncio.Semaphore(WAITING)

        async def one(number: int, first: int) -> None:
            async with free:
                self.ids[number] = await self._submit(number, first)
                self.rows[self.ids[number]] = await self._end(self.ids[number])

        await asyncio.gather(*(one(number, choose.randrange(2)) for number in range(SUBMITS)))

    async def _submit(self, number: int, first: int) -> str:
        asked = body(self.turnstile.task(number), session_id=f"s-{number}", on_busy="enqueue")
        turn = first
        while True:
            turn += 1
            try:
                async with self.fleet.http(turn % 2) as api:
                    answer = await api.post(
                        "/tasks/submit", json=asked, headers={"Idempotency-Key": f"n-{number}"}
                    )
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == httpx.codes.OK:
                assert answer.json()["success"], answer.text
                return str(answer.json()["task_id"])
            assert answer is None or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            self.refused += 1
            await asyncio.sleep(0.3)

    async def _end(self, task_id: str) -> Json:
        turn = 0
        while True:
            turn += 1
            with suppress(httpx.TransportError):
                async with self.fleet.http(turn % 2) as api:
                    row = await row_of(api, task_id)
                if row is not None and Status(row["status"]).terminal:
                    return row
            await asyncio.sleep(0.3)


async def agents() -> list[psutil.Process]:
    """The processes of the runs of all hosts."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "vibesurf:run":
                found.append(process)
    return found


async def kill_something(fleet: Fleet, choose: random.Random) -> str:
    """SIGKILL an agent's process or a part, which is started again; what it was."""
    what = choose.choice(["agent", "worker", "api", "mirror"])
    host = choose.choice(fleet.hosts)
    if what == "agent":
        running = await eventually(agents, timeout=120, pause=0.02)
        with suppress(psutil.NoSuchProcess):
            choose.choice(running).kill()
        return what
    if what == "mirror":
        host = next((one for one in fleet.hosts if one.mirrors), host)
        what = "active mirror" if host.mirrors else "mirror"
    part = what.removeprefix("active ")
    await asyncio.to_thread(host.kill, part, signal.SIGKILL)
    await asyncio.to_thread(host.start, part)
    return what


@pytest.mark.parametrize("limit", [1, 3])
async def test_slots_hold_under_submits_and_kills(redis_url: str, site: Site, limit: int) -> None:
    choose = random.Random(SEED)
    turnstile = Turnstile(site, 0.2)
    turnstile.limit = limit
    killed: Counter[str] = Counter()
    manager = running_fleet(redis_url)
    fleet = await asyncio.to_thread(manager.__enter__)
    try:
        async with fleet.prefect() as prefect:
            await prefect.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=limit))
            workload = Workload(fleet, turnstile)
            begun = time.monotonic()
            working = asyncio.create_task(workload.run(random.Random(SEED)))
            for number in range(1, KILLS + 1):
                due = SUBMITS * number // (KILLS + 1)

                async def far_enough(due: int = due) -> bool:
                    if working.done():
                        working.result()
                    return len(workload.rows) >= due or working.done()

                await eventually(far_enough, timeout=600)
                killed[await kill_something(fleet, choose)] += 1
                print(f"{time.monotonic() - begun:.0f} s: {number} kills, {due} ended", flush=True)
            await working
            took = time.monotonic() - begun
            wrong = await wrong_rows(fleet, prefect, workload.ids.values())
            runs = [
                run
                for offset in range(0, SUBMITS + 200, 200)
                for run in await prefect.read_flow_runs(limit=200, offset=offset)
            ]
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
    ended = Counter(row["status"] for row in workload.rows.values())
    print(f"limit {limit}, seed {SEED}: {SUBMITS} submits in {took:.0f} s, {dict(ended)}")
    print(f"kills {dict(killed)}, asked again {workload.refused} times")
    print(f"most at once {turnstile.most}, more than {limit}: {len(turnstile.over)} times")
    print(f"one task twice at once: {turnstile.twice}; rows wrong after the end: {wrong}")
    assert turnstile.over == []
    assert turnstile.twice == 0
    assert wrong == 0
    assert len(set(workload.ids.values())) == SUBMITS == len(runs)
    # A run whose process dies more than twice fails, and says so.
    assert ended.keys() <= {"completed", "failed"}
    for row in workload.rows.values():
        assert row["status"] == "completed" or "killed by SIGKILL" in row["error_message"]


async def wrong_rows(fleet: Fleet, prefect: PrefectClient, ids: Iterable[str]) -> int:
    """How many rows are not as Prefect says, half a minute after the end at the latest."""
    left = set(ids)

    async def right() -> bool:
        async with fleet.http() as api:
            for task_id in list(left):
                row = await row_of(api, task_id)
                state = await state_of(prefect, task_id)
                if row is not None and row["status"] == status_of(state):
                    left.discard(task_id)
        return not left

    with suppress(TimeoutError):
        await eventually(right, timeout=RIGHT_SECONDS)
    return len(left)


async def test_a_cut_link_and_its_mend(redis_url: str) -> None:
    """The host that is cut off stops before the other one runs its task again."""
    database = urlsplit(server_of("postgresql"))
    where = (database.hostname or "127.0.0.1", database.port or 5432)
    with network() as net, relay(net.center, where) as port, Site(host=net.outside) as site:
        async with fresh("postgresql") as url:
            tables = url.replace(f"{where[0]}:{where[1]}", f"{net.center}:{port}")
            fleet = Fleet(
                url,
                url,
                redis_url,
                tables=tables,
                addresses=(net.center, *net.hosts),
                namespaces=net.namespaces,
            )
            try:
                await asyncio.to_thread(fleet.start)
                await cut_and_mend(fleet, net, site)
            finally:
                await asyncio.to_thread(fleet.close)


async def cut_and_mend(fleet: Fleet, net: Network, site: Site) -> None:
    turnstile = Turnstile(site, 0.4)
    async with fleet.prefect() as prefect, fleet.http() as one, fleet.http(1) as two:
        asked = body(turnstile.task(0, pages=60), session_id="cut")
        key = {"Idempotency-Key": "cut"}
        task_id = (await post(one, "/tasks/submit", asked, key)).json()["task_id"]

        async def at_work() -> bool:
            return bool(site.hits["/turnstile/0/3"])

        await eventually(at_work, timeout=SLOW_SECONDS)
        run = await prefect.read_flow_run(UUID(task_id))
        owner = run.labels["prefect.worker.name"]
        host = next(n for n, each in enumerate(fleet.hosts) if each.name == owner)
        api = two if host == 0 else one
        net.cut(host)
        begun = time.monotonic()

        async def taken_over() -> bool:
            return site.hits["/turnstile/0/1"] == 2

        await eventually(taken_over, timeout=SLOW_SECONDS)
        print(f"run again elsewhere {time.monotonic() - begun:.1f} s after the cut")

        async def mirrored() -> bool:
            return fleet.hosts[1 - host].mirrors

        await eventually(mirrored, timeout=60)
        row = await completes(api, task_id, timeout=SLOW_SECONDS)
        assert (turnstile.most, turnstile.twice) == (1, 0)
        net.mend(host)
        mended = (one, two)[host]
        begun = time.monotonic()

        async def back() -> bool:
            with suppress(httpx.TransportError):
                return (await mended.get("/tasks/status")).is_success
            return False

        await eventually(back, timeout=SLOW_SECONDS)
        asked = body(turnstile.task(1), session_id="mended")
        later = (await post(mended, "/tasks/submit", asked)).json()["task_id"]
        await completes(mended, later, timeout=SLOW_SECONDS)
        print(f"right again {time.monotonic() - begun:.1f} s after the mend")
        assert await row_of(api, task_id) == row
        assert [each.mirrors for each in fleet.hosts].count(True) == 1
        assert (turnstile.most, turnstile.twice) == (1, 0)
        assert site.hits["/turnstile/0/1"] == 2
