"""Which runs nobody works on, by what Prefect says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from vibesurf_blocks.prefect_api.labels import WORKER
from vibesurf_blocks.worker.recovery import Recovery

LONG_AGO = timedelta(minutes=1)


def how(run: FlowRun) -> str | None:
    """How a run was orphaned, as the worker `mine` sees it; the worker `other` is alive."""
    nothing: Any = None
    recovery = Recovery(
        nothing,
        "pool",
        "mine",
        loose_seconds=8,
        gap_seconds=8,
        max_recoveries=nothing,
        salvage=nothing,
    )
    return recovery._how_orphaned(run, set())


def run(kind: StateType, *, owner: str | None = None, begun: bool = False) -> FlowRun:
    """A run that came into a state a minute ago."""
    then = datetime.now(UTC) - LONG_AGO
    state: State[Any] = State(type=kind, timestamp=then)
    labels = {} if owner is None else {WORKER: owner}
    start: Any = then if begun else None
    return FlowRun(flow_id=uuid4(), state=state, labels=labels, start_time=start)


@pytest.mark.parametrize("kind", [StateType.PENDING, StateType.CANCELLING])
def test_a_claim_whose_worker_died_before_it_said_who_it_is(kind: StateType) -> None:
    # Stopped meanwhile, it would hold its slot until Prefect gives up, five minutes later.
    assert how(run(kind)) == "was never started"


@pytest.mark.parametrize("kind", [StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING])
def test_a_run_that_no_worker_started_is_left_to_whoever_did(kind: StateType) -> None:
    assert how(run(kind, begun=True)) is None


@pytest.mark.parametrize("kind", [StateType.PENDING, StateType.CANCELLING])
def test_a_fresh_claim_is_left_alone(kind: StateType) -> None:
    fresh = run(kind)
    assert fresh.state is not None
    fresh.state.timestamp = datetime.now(UTC)
    assert how(fresh) is None


def test_a_run_of_a_living_worker_is_its_own() -> None:
    assert how(run(StateType.RUNNING, owner="other", begun=True)) is None
