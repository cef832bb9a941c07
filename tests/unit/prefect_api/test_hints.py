"""Which run an event is about."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from prefect.events import Event
from prefect.events.schemas.events import RelatedResource, Resource

from vibesurf_blocks.prefect_api.hints import run_id_of

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
