"""More deployments than fit a page are mirrored in parts, and nothing is overlooked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Set
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from tests.support.schedules import copy_agent, unique
from vibesurf_blocks.mirror import schedules as mirror_schedules
from vibesurf_blocks.mirror import sweep as mirror_sweep
from vibesurf_blocks.mirror.schedules import ScheduleMirror
from vibesurf_blocks.mirror.sweep import Sweep
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.tables import Database, upgrade
from vibesurf_blocks.tables.records import ScheduleRecord
from vibesurf_blocks.tables.schedules import ScheduleStore

Copies = Callable[[int], Awaitable[list[UUID]]]

CRON = CronSchedule(cron="0 8 1 1 *", timezone="UTC")
PAGE = 2
ROUND = 24
"""Looks in which all deployments that these tests may meet are read."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ScheduleStore]:
    """Tables of this module's own mirror, which no other writes."""
    url = f"sqlite:///{tmp_path / 'tables.db'}"
    await upgrade(url)
    database = Database(url)
    yield ScheduleStore(database)
    await database.aclose()


@pytest.fixture
async def copies(prefect: PrefectClient) -> AsyncIterator[Copies]:
    """Makes so many deployments of the agent, which go when the test has ended."""
    made: list[UUID] = []

    async def make(count: int) -> list[UUID]:
        these = [await copy_agent(prefect, unique(f"many-{number}")) for number in range(count)]
        made.extend(these)
        return these

    yield make
    for deployment in made:
        with suppress(ObjectNotFound):  # the test deleted it
            await prefect.delete_deployment(deployment)


async def looks(mirror: ScheduleMirror, store: ScheduleStore) -> dict[str, ScheduleRecord]:
    """Look for a round, and return the rows."""
    for _ in range(ROUND):
        await mirror.look()
    return {row.id: row for row in await store.all()}


@pytest.mark.slow
async def test_whatever_is_edited_shows_within_a_round(
    prefect: PrefectClient,
    copies: Copies,
    store: ScheduleStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror_schedules, "_COMPARE_SECONDS", 0.0)
    made: dict[UUID, str] = {}
    for deployment in await copies(5):
        [schedule] = await prefect.create_deployment_schedules(
            deployment, [DeploymentScheduleCreate(schedule=CRON)]
        )
        made[deployment] = str(schedule.id)
    ids = list(made.values())
    oldest, second = list(made)[:2]
    mirror = ScheduleMirror(prefect, store, 0.5, page_size=PAGE)

    await mirror.look()
    assert set(ids) <= {row.id for row in await store.all()}, "the first look reads them all"

    # An edit of a schedule alone, which leaves the deployment as it was.
    await prefect.update_deployment_schedule(oldest, UUID(ids[0]), active=False)
    rows = await looks(mirror, store)
    assert not rows[ids[0]].is_enabled
    assert rows[ids[1]].is_enabled

    # A row that somebody else wrote for a schedule which was not seen yet, and one that is lost.
    [later] = await prefect.create_deployment_schedules(
        second, [DeploymentScheduleCreate(schedule=CRON, slug="later")]
    )
    written = rows[ids[1]].model_copy(update={"id": str(later.id), "flow_id": "written by the API"})
    await store.write([written], gone=[ids[2]])
    await mirror.look()
    rows = {row.id: row for row in await store.all()}
    assert {str(later.id), ids[2]} <= rows.keys()
    rows = await looks(mirror, store)
    assert {str(later.id), *ids} <= rows.keys()

    # Schedules and deployments that are deleted take their rows with them; none comes back.
    await prefect.delete_deployment_schedule(second, later.id)
    await prefect.delete_deployment(oldest)
    begun = time.monotonic()
    while {str(later.id), ids[0]} & (rows := await looks(mirror, store)).keys():
        assert time.monotonic() - begun < 15
    assert set(ids[1:]) <= rows.keys()


class Asked(Sweep):
    """Keeps which deployments it asked for by their ids."""

    def __init__(self, client: PrefectClient) -> None:
        super().__init__(client, PAGE)
        self.asked: list[UUID] = []

    async def again(self, ids: Set[UUID]) -> list[DeploymentResponse]:
        self.asked += ids
        return await super().again(ids)


@pytest.mark.slow
async def test_one_that_starts_reads_each_deployment_once(
    prefect: PrefectClient, copies: Copies
) -> None:
    made = await copies(5)
    sweep = Asked(prefect)
    while not sweep.rounds:
        await sweep.look()
    assert sweep.known.keys() >= set(made)
    assert not set(made) & set(sweep.asked)


async def _in_rounds(prefect: PrefectClient) -> Sweep:
    """A sweep that has read all deployments once, and goes on in parts."""
    sweep = Sweep(prefect, PAGE)
    while not sweep.rounds:
        await sweep.look()
    return sweep


@pytest.mark.slow
async def test_more_changes_than_one_look_reads_are_read_by_the_next_ones(
    prefect: PrefectClient, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_sweep, "_CHANGED_SECONDS", 0.0)
    monkeypatch.setattr(mirror_sweep, "_PART", 1)
    sweep = await _in_rounds(prefect)
    made = await copies(7)
    rounds = sweep.rounds
    found: set[UUID] = set()
    while not found >= set(made):
        found |= {one.id for one in await sweep.look()}
        assert sweep.rounds == rounds, "not before a round has ended"


@pytest.mark.slow
async def test_a_deployment_that_nobody_saw_come_is_found_by_a_round(
    prefect: PrefectClient, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_sweep, "_LATE_SECONDS", 0.0)
    made = await copies(5)
    sweep = await _in_rounds(prefect)
    del sweep.known[made[0]]  # as if its change had been passed over
    rounds = sweep.rounds
    while made[0] not in sweep.known:
        await sweep.look()
        assert sweep.rounds <= rounds + 2


@pytest.mark.slow
async def test_a_change_that_is_committed_after_a_later_one_is_read(
    prefect: PrefectClient, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_sweep, "_NEWEST", 1)
    monkeypatch.setattr(mirror_sweep, "_PART", 1)
    sweep = await _in_rounds(prefect)
    made = await copies(2)
    rounds = sweep.rounds
    while not sweep.known.keys() >= set(made):
        await sweep.look()
    await sweep.look()
    await sweep.look()
    del sweep.known[made[0]]  # as if it had not been there yet when the later one was read
    while made[0] not in sweep.known:
        await sweep.look()
        assert sweep.rounds == rounds, "not before a round has ended"


@pytest.mark.slow
async def test_no_occurrence_is_passed_over_by_the_look_that_reads_others(
    prefect: PrefectClient,
    copies: Copies,
    store: ScheduleStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_up: list[dict[UUID, datetime]] = []
    make_up = prefect_deployments.make_up

    async def noting(
        client: PrefectClient, deployment: DeploymentResponse, since: dict[UUID, datetime]
    ) -> int:
        made_up.append(since)
        return await make_up(client, deployment, since)

    monkeypatch.setattr(prefect_deployments, "make_up", noting)
    made = await copies(3)
    [schedule] = await prefect.create_deployment_schedules(
        made[0], [DeploymentScheduleCreate(schedule=CRON)]
    )
    mirror = ScheduleMirror(prefect, store, 0.5, page_size=PAGE)
    await looks(mirror, store)
    for number in range(2):  # before the one, and before the other
        await mirror.look()
        edited = datetime.now(UTC)
        await prefect.update_deployment(made[0], DeploymentUpdate(description=str(number)))
        made_up.clear()
        while not any(schedule.id in since for since in made_up):
            await mirror.look()
        assert min(since[schedule.id] for since in made_up if schedule.id in since) <= edited


async def test_a_schedule_deleted_while_it_is_looked_at_gets_no_row(
    prefect: PrefectClient, copies: Copies, store: ScheduleStore
) -> None:
    [deployment] = await copies(1)

    class Deleting(ScheduleMirror):
        async def _count_again(self, edited: Iterable[DeploymentResponse]) -> None:
            await super()._count_again(edited)
            for one in edited:
                if one.id == deployment:
                    for schedule in one.schedules:
                        await prefect.delete_deployment_schedule(deployment, schedule.id)

    mirror = Deleting(prefect, store, 0.5)
    await mirror.look()
    [schedule] = await prefect.create_deployment_schedules(
        deployment, [DeploymentScheduleCreate(schedule=CRON)]
    )
    await mirror.look()
    assert not await prefect.read_deployment_schedules(deployment)
    assert str(schedule.id) not in {row.id for row in await store.all()}
