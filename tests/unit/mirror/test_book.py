"""The book of schedules says, after whatever came and went, what a fresh reading would say."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from vibesurf_blocks.mirror import book as module
from vibesurf_blocks.mirror.book import ScheduleBook, records_of
from vibesurf_blocks.prefect_api.deployments import Executions
from vibesurf_blocks.tables.records import ScheduleRecord

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
FLOW = UUID(int=1)
SLUGS = (None, "vibesurf-name", "vibesurf-path")


def deployment(
    number: int,
    *slugs: str | None,
    name: str = "daily",
    cron: str = "0 * * * *",
    updated: datetime = NOW,
) -> DeploymentResponse:
    """The deployment of this number; the greater the number, the younger."""
    own = UUID(int=1_000 * number)
    return DeploymentResponse(
        id=own,
        name=name,
        flow_id=FLOW,
        created=NOW + timedelta(seconds=number),
        updated=updated,
        schedules=[
            DeploymentSchedule(
                id=UUID(int=1_000 * number + place + 1),
                created=NOW,
                deployment_id=own,
                schedule=CronSchedule(cron=cron, timezone="UTC"),
                slug=slug,
            )
            for place, slug in enumerate(slugs)
        ],
        labels={},
    )


def read_anew(
    deployments: Iterable[DeploymentResponse],
    flows: Mapping[UUID, str],
    done: Mapping[UUID, Executions],
    now: datetime,
) -> dict[str, ScheduleRecord]:
    """The rows by the rule alone: of two that go by one name, the older deployment's has it."""
    rows: dict[str, ScheduleRecord] = {}
    taken: set[str] = set()
    for one in sorted(deployments, key=lambda one: (one.created or NOW, str(one.id))):
        for row in records_of(one, flows[one.id], done, now):
            kept = row.model_copy(update={"flow_id": row.id}) if row.flow_id in taken else row
            rows[kept.id] = kept
        taken |= {row.flow_id for row in records_of(one, flows[one.id], done, now)}
    return rows


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_and_goes_the_rows_are_those_of_a_fresh_reading(seed: int) -> None:
    chance = random.Random(seed)
    book = ScheduleBook()
    there: dict[UUID, DeploymentResponse] = {}
    flows: dict[UUID, str] = {}
    done: dict[UUID, Executions] = {}
    told: dict[UUID, dict[str, ScheduleRecord]] = {}
    now = NOW
    for _ in range(40):
        now += timedelta(seconds=chance.choice((0, 40, 4_000)))
        changed: set[UUID] = set()
        one = deployment(
            chance.randrange(1, 7),
            *chance.choices(SLUGS, k=chance.randrange(3)),
            name=chance.choice(("daily", "nightly")),
            updated=now,
        )
        match chance.choice(("edit", "edit", "count", "time")):
            case "edit":
                flows[one.id] = chance.choice(("agent-run", "other"))
                there[one.id] = one
                changed |= book.put(one, flows[one.id], done, now)
            case "count" if one.id in there:
                for schedule in there[one.id].schedules:
                    done[schedule.id] = Executions(chance.randrange(9), now)
                changed |= book.again(one.id, done, now)
            case _:
                pass
        for overtaken in book.overtaken(now):
            changed |= book.again(overtaken, done, now)
        for of in changed:
            told[of] = {row.id: row for row in book.rows(of)}
        everything = {key: row for rows in told.values() for key, row in rows.items()}
        assert everything == read_anew(there.values(), flows, done, now)
        assert book.schedules() == everything.keys()


def test_a_name_goes_to_the_next_when_its_owner_leaves() -> None:
    book = ScheduleBook()
    older, younger = deployment(1, "vibesurf-name"), deployment(2, "vibesurf-name")
    book.put(younger, "agent-run", {}, NOW)
    assert [row.flow_id for row in book.rows(younger.id)] == ["daily"]
    assert book.put(older, "other", {}, NOW) == {older.id, younger.id}
    assert [row.flow_id for row in book.rows(older.id)] == ["daily"]
    assert [row.flow_id for row in book.rows(younger.id)] == [str(younger.schedules[0].id)]
    assert book.put(deployment(1), "other", {}, NOW) == {older.id, younger.id}
    assert [row.flow_id for row in book.rows(younger.id)] == ["daily"]
    assert book.deployment(older.id) is None


def test_a_time_that_passed_is_told_of_once() -> None:
    book = ScheduleBook()
    one = deployment(1, None, cron="0 13 * * *")
    book.put(one, "agent-run", {}, NOW)
    book.put(one, "agent-run", {}, NOW)
    assert book.overtaken(NOW) == set()
    later = NOW + timedelta(hours=1)
    assert book.overtaken(later) == {one.id}
    assert book.overtaken(later) == set()
    book.again(one.id, {}, later)
    (row,) = book.rows(one.id)
    assert row.next_execution_at == datetime(2026, 3, 2, 13, tzinfo=UTC)
    assert book.overtaken(later + timedelta(days=1)) == {one.id}


def test_an_edit_a_second_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_TIMES", 4)
    book = ScheduleBook()
    for minute in range(60):
        book.put(deployment(1, None, cron=f"{minute} 13 * * *"), "agent-run", {}, NOW)
    assert len(book._due) <= 6
    assert book.overtaken(NOW + timedelta(minutes=88)) == set()
    assert book.overtaken(NOW + timedelta(minutes=89)) == {deployment(1).id}
