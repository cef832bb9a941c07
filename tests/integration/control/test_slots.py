"""One slot: queued runs take it in the order they were asked for, and never two at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import StateType, WorkerStatus

from tests.support.book import Books
from tests.support.control import at_rest, done, kill, queue
from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack, end
from tests.support.tasks import completes
from tests.support.turnstile import Turnstile
from vibesurf_blocks.prefect_api.runs import in_states

RUNS = 6
PAGE_SECONDS = 0.05


@contextmanager
def second_worker(stack: LiveStack) -> Iterator[str]:
    """Another worker on the stack's pool, started as its users start one."""
    name = f"second-{uuid4().hex[:6]}"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--name", name]
    program = stack.open(*command, "--pool", stack.settings.pool)
    try:
        yield name
    finally:
        end(program)


async def online(prefect: PrefectClient, stack: LiveStack, name: str) -> None:
    """Wait until a worker is seen."""

    async def seen() -> bool:
        workers = await prefect.read_workers_for_work_pool(stack.settings.pool)
        return any(one.name == name and one.status is WorkerStatus.ONLINE for one in workers)

    await eventually(seen, timeout=30)


@asynccontextmanager
async def pool_limit(prefect: PrefectClient, pool: str, limit: int) -> AsyncIterator[None]:
    """The pool with another limit, for as long as the block runs."""
    await prefect.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=limit))
    try:
        yield
    finally:
        await prefect.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=1))


async def spans(prefect: PrefectClient, ids: list[str]) -> list[tuple[float, float]]:
    """When each run held the slot, by its history: from its last claim to its end."""
    found = []
    for task_id in ids:
        states = await prefect.read_flow_run_states(UUID(task_id))
        states.sort(key=lambda state: state.timestamp)
        running = next(one for one in states if one.type is StateType.RUNNING)
        found.append((running.timestamp.timestamp(), states[-1].timestamp.timestamp()))
    return sorted(found)


@pytest.mark.slow
async def test_queued_runs_start_in_the_order_they_were_asked_for(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site, books: Books
) -> None:
    first, meter = books(2), Turnstile(site, PAGE_SECONDS)
    holder = await queue(prefect, first.task, "s-first")
    await first.until_asked(1)
    ids = [await queue(prefect, meter.task(number), "s-many") for number in range(5)]
    first.let_all()

    for task_id in (holder, *ids):
        await completes(api, task_id, timeout=60)

    assert meter.order == list(range(5))
    assert meter.most == 1


async def test_a_recovered_run_is_not_overtaken(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site, books: Books
) -> None:
    first, meter = books(3), Turnstile(site, PAGE_SECONDS)
    first.let(1)
    holder = await queue(prefect, first.task, "s-first")
    await first.until_asked(2)
    waiting = await queue(prefect, meter.task(0), "s-many")
    await kill(prefect, holder)

    await first.until_asked(2, times=2)

    assert meter.order == []
    first.let_all()
    await completes(api, holder)
    await completes(api, waiting)


async def test_two_workers_never_run_two_at_once(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    meter = Turnstile(site, PAGE_SECONDS)
    with second_worker(stack) as name:
        await online(prefect, stack, name)
        # Sessions differ, so that no lock on a session's folder keeps them apart.
        ids = [await queue(prefect, meter.task(n), f"s-{n}") for n in range(RUNS)]
        for task_id in ids:
            await completes(api, task_id, timeout=90)
    assert meter.most == 1
    assert sorted(meter.order) == list(range(RUNS))
    held = await spans(prefect, ids)
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(held))
    assert set(site.hits.values()) == {1}


@pytest.mark.slow
async def test_with_two_slots_two_run_in_different_sessions(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    one, two, three = books(1), books(1), books(1)
    async with pool_limit(prefect, stack.settings.pool, 2):
        a = await queue(prefect, one.task, "s-a")
        b = await queue(prefect, two.task, "s-b")
        c = await queue(prefect, three.task, "s-c")
        await one.until_asked(1)
        await two.until_asked(1)
        assert three.asked == [0]
        one.let_all()
        await three.until_asked(1)
        for book in (two, three):
            book.let_all()
        for task_id in (a, b, c):
            await completes(api, task_id)


@pytest.mark.slow
async def test_a_paused_run_holds_one_of_two_slots(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    one, two, three = books(4), books(1), books(1)
    async with pool_limit(prefect, stack.settings.pool, 2):
        a = await queue(prefect, one.task, "s-a")
        await one.until_asked(1)
        await at_rest(api, one, a)
        b = await queue(prefect, two.task, "s-b")
        c = await queue(prefect, three.task, "s-c")
        await two.until_asked(1)
        assert three.asked == [0]
        two.let_all()
        await completes(api, b)
        await three.until_asked(1)
        one.let_all()
        three.let_all()
        await done(api, "resume", a)
        for task_id in (a, c):
            await completes(api, task_id)


@pytest.mark.slow
async def test_a_run_that_no_worker_started_waits_for_the_slot_too(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, other = books(2), books(1)
    task_id = await queue(prefect, book.task, "s-worker")
    await book.until_asked(1)
    program = stack.open(sys.executable, "-m", "tests.support.loose_run", other.task)

    async def both_run() -> bool:
        runs = await prefect.read_flow_runs(flow_run_filter=in_states([StateType.RUNNING]))
        return len(runs) == 2

    await eventually(both_run, timeout=30)
    book.let(1)
    await book.until_asked(2)
    assert other.asked == [0]
    book.let_all()
    await completes(api, task_id)
    await other.until_asked(1)
    other.let_all()
    assert await asyncio.to_thread(program.wait, 20) == 0
