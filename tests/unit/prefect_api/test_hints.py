"""Which run an event is about, and of which pool."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from prefect.events import Event
from prefect.events.schemas.events import RelatedResource, Resource

from vibesurf_blocks.prefect_api.hints import pool_of, run_id_of

RUN = uuid4()


def event(resource: str, *related: str) -> Event:
    return Event(
        event="x",
        resource=Resource({"prefect.resource.id": resource}),
        related=[
            RelatedResource({"prefect.resource.id": one, "prefect.resource.role": "r"})
            for one in related
        ],
    )


@pytest.mark.parametrize(
    ("told", "run"),
    [
        (event(f"prefect.flow-run.{RUN}"), RUN),
        (event("prefect.artifact.1", f"prefect.flow-run.{RUN}"), RUN),
        (event("prefect.artifact.1", "prefect.flow.2", f"prefect.flow-run.{RUN}"), RUN),
        (event("prefect.flow-run.no-id"), None),
        (event(f"prefect.flow.{RUN}"), None),
    ],
)
def test_the_run_is_the_resource_or_a_related_one(told: Event, run: UUID | None) -> None:
    assert run_id_of(told) == run


def test_the_pool_is_the_related_work_pool() -> None:
    told = event(f"prefect.flow-run.{RUN}", "prefect.flow.1")
    assert pool_of(told) is None
    told.related.append(
        RelatedResource(
            {
                "prefect.resource.id": "prefect.work-pool.1",
                "prefect.resource.role": "work-pool",
                "prefect.resource.name": "agents",
            }
        )
    )
    assert pool_of(told) == "agents"
