"""Prefect's states in the project's words: the six statuses, and who holds a slot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from prefect.client.schemas.objects import State, StateType

from vibesurf_blocks.tasks import Status

SUSPENDED: Final = "Suspended"
"""Name of the state the Prefect UI's Pause sets: the process ends and the slot is given up."""

_STATUS: Final[dict[StateType, Status]] = {
    StateType.SCHEDULED: Status.PENDING,
    StateType.PENDING: Status.PENDING,
    StateType.RUNNING: Status.RUNNING,
    StateType.CANCELLING: Status.RUNNING,
    StateType.PAUSED: Status.PAUSED,
    StateType.COMPLETED: Status.COMPLETED,
    StateType.FAILED: Status.FAILED,
    StateType.CRASHED: Status.FAILED,
    StateType.CANCELLED: Status.STOPPED,
}

SLOT_STATES: Final = (
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
)
"""State types in which a run may hold a slot; Paused only where it is not a suspension."""

UNFINISHED_STATES: Final = (StateType.SCHEDULED, *SLOT_STATES)


def status_of(state: State | None) -> Status:
    """The status that a row shows for a state; a run without a state is pending."""
    return _STATUS[state.type] if state is not None else Status.PENDING


def is_suspended(state: State | None) -> bool:
    """Whether the run was suspended: its process ended and it holds no slot."""
    return state is not None and state.type is StateType.PAUSED and state.name == SUSPENDED


def pause_is_over(state: State | None) -> bool:
    """Whether Prefect would fail the run rather than let it go on: its pause has timed out."""
    limit = state.state_details.pause_timeout if state is not None else None
    return limit is not None and limit < datetime.now(UTC)


def holds_slot(state: State | None) -> bool:
    """Whether a run in this state holds a slot: from its claim until it has really ended."""
    return state is not None and state.type in SLOT_STATES and not is_suspended(state)
