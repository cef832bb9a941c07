"""What happened to one task, in order, and where in it a client is.

A task's events come from three lists that only grow, all kept by Prefect: the states of its flow
run, its journal of steps, and what was asked of it. A cursor says how far each was told, so every
process makes the same of it, also one that merges the lists otherwise because it read later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, Field

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.prefect_api.step_journal import StepNote
from vibesurf_blocks.tables.records import ControlEntry, Moment
from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

Kind = Literal["state", "step", "acknowledgement", "end"]

_CURSOR: Final = re.compile(r"(\d{1,9})~([0-9a-f]{0,8})\.(\d{1,9})\.(\d{1,9})(\.end)?", re.ASCII)


class StateEvent(BaseModel):
    """The flow run entered a state."""

    status: Annotated[Status, Field(description="The task's status in this state.")]
    state: Annotated[str, Field(description="Name of the state in Prefect.")]
    message: Annotated[str | None, Field(description="What Prefect says with it.")]
    at: Annotated[Moment, Field(description="When it was entered.")]


class EndEvent(BaseModel):
    """The task has ended, and its row stands."""

    status: Status
    error_message: str | None
    report_path: str | None
    at: Annotated[Moment, Field(description="When it ended.")]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a client is.

    Attributes:
        states: States that were told.
        tail: The end of the id of the state told last. Of two states set at the same moment the
            later one may be stored first; by this the other is recognised when it comes.
        steps: Steps that were told.
        acks: Acknowledgements that were told.
        ended: Whether the end was told last.
    """

    states: int = 0
    tail: str = ""
    steps: int = 0
    acks: int = 0
    ended: bool = False

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read the id of an event.

        Raises:
            InvalidInput: It is not one.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            msg = (
                "There is no event with this id: give the id of the last event that came, as it "
                "came, or none to begin with the first one."
            )
            raise InvalidInput(msg)
        return cls(int(match[1]), match[2], int(match[3]), int(match[4]), match[5] is not None)

    def __str__(self) -> str:
        return f"{self.states}~{self.tail}.{self.steps}.{self.acks}{'.end' if self.ended else ''}"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One event, and the cursor of a client that has it."""

    kind: Kind
    data: StateEvent | StepNote | ControlEntry | EndEvent
    cursor: Cursor


@dataclass(slots=True)
class EventLog:
    """What is known of one task, each list in the order it grew.

    Attributes:
        states: The states of its flow run.
        steps: The steps it finished.
        acks: What was asked of it, and when that took effect.
        end: How it ended, None while it has not.
    """

    states: Sequence[State] = ()
    steps: Sequence[StepNote] = ()
    acks: Sequence[ControlEntry] = ()
    end: EndEvent | None = None
    _tails: list[str] = field(default_factory=list)

    def saw_states(self, states: Sequence[State]) -> None:
        """Take over the states of the run, in whatever order."""
        self.states = sorted(states, key=lambda one: one.timestamp)
        self._tails = [one.id.hex[-8:] for one in self.states]

    def after(self, cursor: Cursor) -> list[TaskEvent]:
        """The events that a client at this cursor has not had, oldest first."""
        told = replace(cursor, ended=False)
        events = []
        for _, kind, data, tail in merge(
            self._states_after(cursor), self._steps(cursor), self._acks(cursor), key=_moment
        ):
            match kind:
                case "state":
                    told = replace(told, states=told.states + 1, tail=tail)
                case "step":
                    told = replace(told, steps=told.steps + 1)
                case _:
                    told = replace(told, acks=told.acks + 1)
            events.append(TaskEvent(kind, data, told))
        if self.end is not None and (events or not cursor.ended):
            events.append(TaskEvent("end", self.end, replace(told, ended=True)))
        return events

    def complete(self, cursor: Cursor) -> bool:
        """Whether the task has ended and a client at this cursor has all of it."""
        return self.end is not None and not self.after(cursor)

    def _states_after(self, cursor: Cursor) -> Iterator[_Item]:
        at = self._tails.index(cursor.tail) if cursor.tail in self._tails else None
        before = [one for one in range(len(self.states)) if one != at]
        for number in before[max(0, cursor.states - (at is not None)) :]:
            one = self.states[number]
            event = StateEvent(
                status=status_of(one),
                state=one.name or one.type.value.title(),
                message=one.message,
                at=one.timestamp,
            )
            yield one.timestamp, "state", event, self._tails[number]

    def _steps(self, cursor: Cursor) -> Iterator[_Item]:
        for one in self.steps[cursor.steps :]:
            yield one.at, "step", one, ""

    def _acks(self, cursor: Cursor) -> Iterator[_Item]:
        for one in self.acks[cursor.acks :]:
            yield one.effective_at or one.asked_at, "acknowledgement", one, ""


_Item = tuple[datetime, Kind, StateEvent | StepNote | ControlEntry, str]


def _moment(item: _Item) -> datetime:
    return item[0]
