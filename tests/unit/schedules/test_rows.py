"""By which `flow_id` the schedules of a deployment go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from vibesurf_blocks.mirror.book import records_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID("11111111-1111-1111-1111-111111111111")


def deployment(*slugs: str | None, name: str = "daily", paused: bool = False) -> DeploymentResponse:
    """A deployment whose schedules were made in this order."""
    schedules = [
        DeploymentSchedule(
            id=uuid4(),
            created=NOW + timedelta(seconds=number),
            schedule=CronSchedule(cron="0 8 * * *", timezone="UTC"),
            slug=slug,
        )
        for number, slug in enumerate(slugs)
    ]
    return DeploymentResponse(
        id=ID,
        name=name,
        flow_id=uuid4(),
        created=NOW,
        paused=paused,
        schedules=schedules,
        labels={},
    )


def names(one: DeploymentResponse) -> list[str]:
    return [record.flow_id for record in records_of(one, "agent-run", {}, NOW)]


@pytest.mark.parametrize(
    ("slugs", "expected"),
    [
        ((None,), ["agent-run/daily"]),
        (("mine",), ["agent-run/daily"]),
        (("a", "b"), ["agent-run/daily", "agent-run/daily#b"]),
        (("vibesurf-name",), ["daily"]),
        (("vibesurf-path",), ["agent-run/daily"]),
        (("vibesurf-id",), [str(ID)]),
        (("a", "vibesurf-name"), ["agent-run/daily#a", "daily"]),
    ],
)
def test_the_name_of_a_row(slugs: tuple[str | None, ...], expected: list[str]) -> None:
    assert names(deployment(*slugs)) == expected


def test_a_schedule_without_a_slug_goes_by_its_id() -> None:
    one = deployment("a", None)
    assert names(one)[1] == f"agent-run/daily#{one.schedules[1].id}"


def test_a_name_that_is_too_long_for_the_table_gives_way_to_the_id() -> None:
    one = deployment("a", name="x" * 300)
    assert names(one) == [str(one.schedules[0].id)]


def test_a_paused_deployment_fires_nothing() -> None:
    record = records_of(deployment("a", paused=True), "agent-run", {}, NOW)[0]
    assert (record.is_enabled, record.next_execution_at) == (False, None)
    record = records_of(deployment("a"), "agent-run", {}, NOW)[0]
    assert record.next_execution_at == datetime(2026, 3, 2, 8, tzinfo=UTC)
