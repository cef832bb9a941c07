"""Two of everything, and nothing twice."""

from __future__ import annotations

import asyncio
import signal
from time import monotonic
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from tests.support.book import Books
from tests.support.control import queue
from tests.support.eventually import eventually
from tests.support.fleet import POOL, Fleet, Host
from tests.support.schedules import task, unique
from tests.support.site import Site
from tests.support.sse import Sent, events, everything
from tests.support.tasks import SLOW_SECONDS, body, completes, post, row_of
from tests.support.turnstile import Turnstile

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

TAKEOVER_SECONDS = 30.0
"""several-hosts.md promises 10 s; a busy machine is slower."""

ROUNDS = 5
TASKS = 9


async def active(fleet: Fleet, *, but: Host | None = None) -> Host:
    """The host whose mirror is active, once there is exactly one beside `but`."""

    async def one() -> Host | None:
        found = [host for host in fleet.hosts if host.mirrors and host is not but]
        return found[0] if len(found) == 1 else None

    host = await eventually(one, timeout=TAKEOVER_SECONDS)
    assert host is not None
    return host


async def test_submits_through_both_apis_accept_one(
    api: httpx.AsyncClient, second: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    page = site.held("/page")
    asked = body(f"Read {page.url}", session_id="forty")
    answers = await asyncio.gather(
        *((api if n % 2 else second).post("/tasks/submit", json=asked) for n in range(40))
    )
    # A busy machine may be too slow for forty at once, which is said and changes nothing.
    assert {answer.status_code for answer in answers} <= {200, 503}
    accepted = [it["task_id"] for answer in answers if (it := answer.json()).get("success")]
    runs = [str(run.id) for run in await prefect.read_flow_runs()]
    assert len(runs) == 1
    assert accepted in (runs, [])
    page.released.set()
    await completes(second, runs[0], timeout=SLOW_SECONDS)


async def test_keys_and_events_are_the_same_through_both_apis(
    fleet: Fleet, api: httpx.AsyncClient, second: httpx.AsyncClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    asked, key = body(book.task), {"Idempotency-Key": "one of two"}
    answers = await asyncio.gather(
        *(post(one, "/tasks/submit", asked, key) for one in (api, second) * 3)
    )
    ids = {answer.json()["task_id"] for answer in answers}
    assert len(ids) == 1
    task_id = ids.pop()
    had: list[Sent] = []
    async for one in events(fleet.hosts[0].api, task_id):
        had.append(one)
        if one.kind == "step":
            break
    book.let_all()
    await completes(api, task_id, timeout=SLOW_SECONDS)
    had += await everything(fleet.hosts[1].api, task_id, had[-1].id)
    whole = await everything(fleet.hosts[0].api, task_id)
    assert sorted(one.what for one in had) == sorted(one.what for one in whole)
    assert [one.data["number"] for one in had if one.kind == "step"] == [1, 2, 3]


async def test_a_refused_schedule_leaves_nothing_in_the_one_that_was_made(
    api: httpx.AsyncClient, second: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    for number in range(ROUNDS):
        name = unique("raced")
        clients = [api, second] if number % 2 else [second, api]
        asked = [
            {"flow_id": spelled, "cron_expression": "@daily", "description": words}
            | {"task": task(words)}
            for spelled, words in ((name, "One."), (f"agent-run/{name}", "Two."))
        ]
        answers = await asyncio.gather(
            *(post(one, "/schedule", it) for one, it in zip(clients, asked, strict=True))
        )
        codes = [answer.status_code for answer in answers]
        # Who had to ask again may have made it the first time.
        assert sorted(codes) in ([200, 409], [409, 409])
        kept = await prefect.read_deployment_by_name(f"agent-run/{name}")
        assert kept.parameters["task_description"] == kept.description
        if httpx.codes.OK in codes:
            assert kept.description == asked[codes.index(httpx.codes.OK)]["description"]
        assert len(kept.schedules) == 1


async def test_a_mirror_that_was_killed_or_ended_is_relieved(
    fleet: Fleet, api: httpx.AsyncClient, site: Site
) -> None:
    url = site.html("/a", "<p>a</p>")
    log = fleet.folder / "rebuild.log"
    refused = fleet.center.spawn("mirror", log, fleet.hosts[0].env, rebuild=True)
    assert await asyncio.to_thread(fleet.center.wait, refused) != 0
    assert "Another mirror is active: end all mirrors first" in log.read_text()
    for number in (signal.SIGKILL, signal.SIGTERM):
        first = await active(fleet)
        other = next(host for host in fleet.hosts if host is not first)

        async def stands_by(other: Host = other) -> bool:
            return "stands by: another one is active" in other.said("mirror")

        await eventually(stands_by, timeout=TAKEOVER_SECONDS)
        begun = monotonic()
        first.kill("mirror", number)
        assert await active(fleet, but=first) is not first
        print(f"relieved {monotonic() - begun:.1f} s after {number.name}")
        key = {"Idempotency-Key": f"after {number.name}"}
        said = await post(api, "/tasks/submit", body(f"Read {url}"), key)
        await completes(api, said.json()["task_id"], timeout=SLOW_SECONDS)
        first.start("mirror")


async def test_three_slots_hold_three_while_the_mirror_is_frozen(
    fleet: Fleet, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    """Both workers run them; the frozen mirror is relieved, and spoils nothing when it wakes."""
    await prefect.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=3))
    turnstile = Turnstile(site, 1.0)
    frozen = await active(fleet)
    begun = monotonic()
    frozen.kill("mirror", signal.SIGSTOP)
    relieved = asyncio.create_task(active(fleet, but=frozen))
    relieved.add_done_callback(
        lambda _: print(f"relieved {monotonic() - begun:.1f} s after SIGSTOP")
    )
    try:
        ids = [await queue(prefect, turnstile.task(n), f"s-{n}") for n in range(TASKS)]
        await relieved
        for task_id in ids:
            await completes(api, task_id, timeout=SLOW_SECONDS)
        before = [await row_of(api, task_id) for task_id in ids]
    finally:
        frozen.kill("mirror", signal.SIGCONT)

    async def stands_by() -> bool:
        return "no longer active" in frozen.said("mirror") and not frozen.mirrors

    await eventually(stands_by, timeout=TAKEOVER_SECONDS)
    assert [await row_of(api, task_id) for task_id in ids] == before
    # A busy machine may never have three between two pages of theirs, but has never four.
    assert 2 <= turnstile.most <= 3
    assert turnstile.twice == 0
    assert set(site.hits.values()) == {1}
    workers = {
        (await prefect.read_flow_run(run)).labels["prefect.worker.name"] for run in map(UUID, ids)
    }
    assert workers == {host.name for host in fleet.hosts}
    await prefect.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=1))
