"""`/metrics` shows what a run, a pause and a submit did, read as Prometheus reads it."""

from __future__ import annotations

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.book import Books
from tests.support.control import at_rest, done
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.tasks import body, completes, submit

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

SHOWN_SECONDS = 30.0
PAGES = 9
"""So many that the agent rests before it has read them all."""


async def scrape(api: httpx.AsyncClient, path: str = "/metrics") -> Samples:
    answer = await api.get(path)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for one in family.samples:
            key = (one.name, frozenset(one.labels.items()))
            assert key not in found, f"{key} comes twice"
            found[key] = one.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


async def test_a_run_is_counted_by_every_part(
    stack: LiveStack, api: httpx.AsyncClient, books: Books
) -> None:
    before = await scrape(api)
    book = books(PAGES)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    running = await scrape(api)
    assert value(running, "vibesurf_tasks", status="running") == 1

    refused = await api.post("/tasks/submit", json=body(book.task))
    assert refused.json()["success"] is False
    await at_rest(api, book, task_id)
    await done(api, "resume", task_id)
    assert (await api.get("/tasks/no-such-task")).status_code == httpx.codes.NOT_FOUND
    assert (await api.get("/no/such/route")).status_code == httpx.codes.NOT_FOUND
    book.let_all()
    await completes(api, task_id)

    grown = {
        ("vibesurf_http_requests_total", (("code", "404"), ("method", "GET"),
            ("route", "/tasks/{task_id}"))): 1,
        ("vibesurf_http_requests_total", (("code", "404"), ("method", "GET"),
            ("route", "unmatched"))): 1,
        ("vibesurf_submits_total", (("outcome", "accepted"),)): 1,
        ("vibesurf_submits_total", (("outcome", "busy"),)): 1,
        ("vibesurf_commands_total", (("operation", "pause"), ("outcome", "done"))): 1,
        ("vibesurf_commands_total", (("operation", "resume"), ("outcome", "done"))): 1,
        ("vibesurf_command_seconds_count", (("operation", "pause"),)): 1,
        ("vibesurf_tasks_ended_total", (("status", "completed"),)): 1,
        ("vibesurf_step_seconds_count", (("engine", "reader"), ("outcome", "ok"))): PAGES,
        ("vibesurf_worker_wait_seconds_count", (("pool", "vibesurf"),)): 1,
        ("vibesurf_mirror_lag_seconds_count", ()): 1,
    }  # fmt: skip
    late: dict[object, float] = {}

    async def shown() -> bool:
        now = await scrape(api, "/api/metrics")
        late.clear()
        for (name, labels), least in grown.items():
            more = value(now, name, **dict(labels)) - value(before, name, **dict(labels))
            if more < least:
                late[name, labels] = more
        return not late

    try:
        await eventually(shown, timeout=SHOWN_SECONDS)
    except TimeoutError as error:
        raise AssertionError(f"not counted: {late}") from error

    after = await scrape(api)
    row_count = (await api.get("/tasks", params={"status": "completed"})).json()["total_count"]

    async def counted() -> bool:  # the count of what has ended is kept for some seconds
        now = await scrape(api)
        return value(now, "vibesurf_tasks", status="completed") == float(row_count)

    await eventually(counted, timeout=SHOWN_SECONDS)
    assert value(after, "vibesurf_worker_slots", pool="vibesurf") == 1
    assert all(
        value(after, "vibesurf_ready", check=one) == 1
        for one in ("prefect", "tables", "worker", "mirror")
    )
    assert {value(after, "vibesurf_part_up", part=one) for one in ("mirror", "worker")} == {1}
    labels = " ".join(word for _, pairs in after for pair in pairs for word in pair)
    assert task_id not in labels
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", labels)
