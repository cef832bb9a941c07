"""What metrics count, what they cost, and how they leave a process."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Running
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import event

from vibesurf_blocks.metrics import share
from vibesurf_blocks.metrics.mirroring import MirrorMetrics
from vibesurf_blocks.metrics.requests import ApiMetrics, CountRequests
from vibesurf_blocks.metrics.rows import LEAST_SECONDS, SHARE, TableCounts
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.ready import free_port
from vibesurf_blocks.tables import Database, ScheduleStore, TaskRecord, TaskStore, upgrade
from vibesurf_blocks.tasks import Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that a test sets; each statement on the database takes `cost` seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.cost = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path / 'tables.db'}"
    await upgrade(url)
    made = Database(url)
    yield made
    await made.aclose()


def record(status: Status, *, due: datetime = NOW) -> TaskRecord:
    return TaskRecord(
        task_id=str(uuid4()),
        session_id="s",
        task_description="x",
        status=status,
        llm_profile_name="builtin",
        created_at=due,
        updated_at=due,
    )


def watch(database: Database, clock: Clock) -> list[str]:
    """The statements that are sent from now on; each takes the time the clock says."""
    sent: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        sent.append(statement)
        clock.now += clock.cost

    event.listen(database._reader.sync_engine, "before_cursor_execute", note)
    return sent


async def test_what_has_ended_is_counted_seldom_and_the_seldomer_the_longer_it_takes(
    database: Database,
) -> None:
    store, clock = TaskStore(database), Clock()
    await store.upsert([record(Status.COMPLETED), record(Status.RUNNING)])
    counts = TableCounts(store, ScheduleStore(database), clock)
    clock.cost = 1.0
    watch(database, clock)
    first = await counts()
    assert first.tasks == dict.fromkeys(Status, 0) | {Status.COMPLETED: 1, Status.RUNNING: 1}
    clock.cost = 0.0
    await store.upsert([record(Status.COMPLETED), record(Status.PAUSED)])
    clock.now += SHARE * 1.0 - 10
    second = await counts()
    assert second.tasks[Status.COMPLETED] == 1  # as it was counted
    assert second.tasks[Status.PAUSED] == 1  # as it is
    clock.now += 11
    assert (await counts()).tasks[Status.COMPLETED] == 2
    await store.upsert([record(Status.COMPLETED)])
    clock.now += LEAST_SECONDS + 0.1
    assert (await counts()).tasks[Status.COMPLETED] == 3


async def test_each_count_goes_through_an_index(database: Database) -> None:
    store, clock = TaskStore(database), Clock()
    sent = watch(database, clock)
    await store.counts([Status.PENDING, Status.RUNNING])
    await store.oldest_waiting()
    assert len(sent) == 2
    async with database.read() as connection:
        for statement in list(sent):
            plan = await connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", ("pending",) * statement.count("?")
            )
            steps = " ".join(str(row) for row in plan)
            assert re.search(r"SEARCH task(s|_counts) USING (COVERING )?INDEX", steps), steps


async def test_the_oldest_waiting_task_is_the_one_due_first(database: Database) -> None:
    store = TaskStore(database)
    assert await store.oldest_waiting() is None
    hour = timedelta(hours=1)
    await store.upsert(
        [record(Status.PENDING, due=NOW - one * hour) for one in (1, 3, 2)]
        + [record(Status.COMPLETED, due=NOW - 9 * hour)]
    )
    assert await store.oldest_waiting() == NOW - 3 * hour


@pytest.fixture
def metrics() -> ApiMetrics:
    return ApiMetrics()


@pytest.fixture
async def client(metrics: ApiMetrics) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.get("/things/{thing_id}")
    @app.get("/api/things/{thing_id}")
    async def thing(thing_id: str) -> str:
        if thing_id == "broken":
            raise RuntimeError
        return thing_id

    transport = httpx.ASGITransport(CountRequests(app, metrics), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


def counted(metrics: ApiMetrics, **labels: str) -> float | None:
    return metrics.registry.get_sample_value("vibesurf_http_requests_total", labels)


async def test_requests_are_counted_by_route_and_by_no_id(
    client: httpx.AsyncClient, metrics: ApiMetrics
) -> None:
    for path in ("/things/1", "/api/things/2", "/things/broken", "/nothing/3"):
        await client.get(path)
    await client.request("BREW", "/things/4")
    route = "/things/{thing_id}"
    assert counted(metrics, method="GET", route=route, code="200") == 2
    assert counted(metrics, method="GET", route=route, code="500") == 1
    assert counted(metrics, method="GET", route="unmatched", code="404") == 1
    assert counted(metrics, method="other", route=route, code="405") == 1


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (None, "done"),
        (HTTPException(400), "refused"),
        (HTTPException(504), "unacknowledged"),
        (TimeoutError(), "failed"),
    ],
    ids=["done", "refused", "unacknowledged", "failed"],
)
def test_commands_are_counted_by_their_outcome(
    metrics: ApiMetrics, raised: Exception | None, outcome: str
) -> None:
    def work() -> None:
        with metrics.command("pause"):
            if raised is not None:
                raise raised

    if raised is None:
        work()
    else:
        with pytest.raises(type(raised)):
            work()
    value = metrics.registry.get_sample_value
    labels = {"operation": "pause", "outcome": outcome}
    assert value("vibesurf_commands_total", labels) == 1
    timed = value("vibesurf_command_seconds_count", {"operation": "pause"})
    assert timed == (1 if outcome == "done" else None)


def run(state: State[None]) -> FlowRun:
    return FlowRun(id=uuid4(), name="run", flow_id=uuid4(), state=state)


def test_the_mirror_counts_each_state_once_and_no_lag_of_its_own_absence() -> None:
    metrics = MirrorMetrics()
    value = metrics.registry.get_sample_value
    before = run(Completed(timestamp=datetime.now(UTC) - timedelta(hours=1)))
    metrics.wrote([before], [str(before.id)])
    assert value("vibesurf_tasks_ended_total", {"status": "completed"}) == 1
    assert value("vibesurf_mirror_lag_seconds_count") == 0
    assert metrics.take_worst() is None

    now = run(Running(timestamp=datetime.now(UTC)))
    for changed in ([str(now.id)], [str(now.id)], []):
        metrics.wrote([now], changed)
    assert value("vibesurf_mirror_lag_seconds_count") == 1
    assert metrics.take_worst() is not None
    assert metrics.take_worst() is None  # it was taken

    known = run(Completed(timestamp=datetime.now(UTC) - timedelta(hours=1)))
    metrics.wrote([known], [])  # counted by the mirror before this one
    assert value("vibesurf_tasks_ended_total", {"status": "completed"}) == 1


def test_steps_of_unknown_engines_make_no_labels() -> None:
    metrics = MirrorMetrics()
    for told in (
        {"seconds": 1.5, "engine": "reader", "ok": True},
        {"seconds": 1.5, "engine": str(uuid4()), "ok": False},
        {"seconds": "long", "engine": "reader", "ok": True},
        {},
    ):
        metrics.step(told)
    value = metrics.registry.get_sample_value
    for engine, outcome in (("reader", "ok"), ("other", "failed")):
        labels = {"engine": engine, "outcome": outcome}
        assert value("vibesurf_step_seconds_count", labels) == 1


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("vibesurf_test", "A test.", registry=made).inc()
    return made


async def test_a_part_writes_its_metrics_for_the_api_and_takes_them_away(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    from tests.support.eventually import eventually

    settings = Settings(metrics_dir=tmp_path / "metrics")
    folder = settings.metrics_dir
    assert folder is not None

    async def written() -> bool:
        return share.collected(folder)["worker"] is not None

    async with share.shared(registry, "worker", settings):
        await eventually(written, timeout=10)
        assert b"vibesurf_test_total 1.0" in (share.collected(folder)["worker"] or b"")
        assert share.collected(folder)["mirror"] is None
    assert share.collected(folder) == {"mirror": None, "worker": None}


def test_what_was_not_written_lately_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "mirror.prom"
    file.write_bytes(b"x")
    written = file.stat().st_mtime
    assert share.collected(tmp_path, written + share.FRESH_SECONDS - 1)["mirror"] == b"x"
    assert share.collected(tmp_path, written + share.FRESH_SECONDS + 1)["mirror"] is None


async def test_a_part_of_its_own_shows_them_at_its_port(registry: CollectorRegistry) -> None:
    settings = Settings(metrics_port=free_port(), host="0.0.0.0")
    address = f"http://127.0.0.1:{settings.metrics_port}/metrics"
    async with httpx.AsyncClient(trust_env=False) as client:
        async with share.shared(registry, "mirror", settings):
            assert "vibesurf_test_total 1.0" in (await client.get(address)).text
            with pytest.raises(httpx.ConnectError):  # the API's address, where it wants a token
                await client.get(address.replace("127.0.0.1", "127.0.0.2"))
        with pytest.raises(httpx.ConnectError):
            await client.get(address)


async def test_a_taken_port_is_told_of_and_holds_nobody_up(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, caplog.at_level(logging.WARNING):
        settings = Settings(metrics_port=taken.getsockname()[1])
        async with share.shared(registry, "mirror", settings):
            pass
    assert "VIBESURF_METRICS_PORT" in caplog.text
