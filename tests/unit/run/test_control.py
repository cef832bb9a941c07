"""What a running agent makes of the states that its run gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled

from vibesurf_blocks.prefect_api.labels import ATTEMPT
from vibesurf_blocks.run.control import Control

_RUN, _FLOW = uuid4(), uuid4()


def _read(state: State[Any], attempt: int = 1, *, later: int = 0) -> FlowRun:
    """The run as it is read, in a state of so many seconds later."""
    state.timestamp = datetime.now(UTC) + timedelta(seconds=later)
    return FlowRun(id=_RUN, flow_id=_FLOW, state=state, labels={ATTEMPT: attempt})


@pytest.fixture
def control() -> Control:
    """Control of a run that is at its first attempt; it asks Prefect nothing by itself."""
    return Control(PrefectClient("http://127.0.0.1:9"), _read(Running()), sign_seconds=60)


@pytest.mark.parametrize("state", [Scheduled(name="Resuming"), Pending()])
def test_a_resume_does_not_cut_off_the_step(control: Control, state: State[Any]) -> None:
    with control.at_step():
        control._heed(_read(state, later=1))
        assert control.superseded
        assert not control.stop.is_set()


def test_a_resume_between_two_steps_ends_the_process(control: Control) -> None:
    control._heed(_read(Scheduled(name="Resuming"), later=1))
    assert control.superseded
    assert control.stop.is_set()


@pytest.mark.parametrize(
    ("state", "attempt"),
    [(Scheduled(), 2), (Pending(), 2), (Running(), 2), (Completed(), 1)],
)
def test_who_was_taken_for_dead_or_is_over_stops_at_once(
    control: Control, state: State[Any], attempt: int
) -> None:
    with control.at_step():
        control._heed(_read(state, attempt, later=1))
    assert control.superseded
    assert control.stop.is_set()


def test_a_stop_cuts_off_the_step_of_a_resumed_run_too(control: Control) -> None:
    with control.at_step():
        control._heed(_read(Pending(), later=1))
        control._heed(_read(Cancelling(message="Enough"), later=2))
        assert control.stop.is_set()
    assert control.reason == "Enough"
