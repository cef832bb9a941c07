"""Whatever was told before, a client gets what it has not had: in order, all of it, and once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import State, StateType

from vibesurf_blocks.api.event_log import Cursor, EndEvent, EventLog, TaskEvent
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.prefect_api.step_journal import StepNote
from vibesurf_blocks.tables.records import ControlEntry
from vibesurf_blocks.tasks import Status

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def state(kind: StateType, seconds: float) -> State:
    return State(id=uuid4(), type=kind, name=kind.value.title(), timestamp=at(seconds))


def step(number: int, seconds: float) -> StepNote:
    return StepNote(number=number, name=f"did {number}", progress=number, ok=True, at=at(seconds))


def ack(seconds: float) -> ControlEntry:
    return ControlEntry(operation="pause", asked_at=at(seconds), effective_at=at(seconds), step=1)


def log(states: Sequence[State], **more: object) -> EventLog:
    made = EventLog(**more)  # type: ignore[arg-type]
    made.saw_states(states)
    return made


def told(events: Sequence[TaskEvent]) -> list[tuple[str, int]]:
    """What came, by kind and by the second in which it happened."""
    shown: list[tuple[str, int]] = []
    for one in events:
        moment = one.data.effective_at if isinstance(one.data, ControlEntry) else one.data.at
        assert moment is not None
        shown.append((one.kind, int((moment - START).total_seconds())))
    return shown


END = EndEvent(status=Status.COMPLETED, error_message=None, report_path=None, at=at(9))
STATES = [state(StateType.PENDING, 0), state(StateType.RUNNING, 1), state(StateType.COMPLETED, 9)]


def test_the_lists_are_told_as_one_in_the_order_of_time() -> None:
    full = log(STATES, steps=[step(1, 2), step(2, 6)], acks=[ack(4)], end=END)
    assert told(full.after(Cursor())) == [
        ("state", 0),
        ("state", 1),
        ("step", 2),
        ("acknowledgement", 4),
        ("step", 6),
        ("state", 9),
        ("end", 9),
    ]


@given(st.lists(st.integers(1, 8), min_size=1), st.permutations(list(range(9))))
def test_read_in_pieces_and_continued_anywhere_each_comes_once(
    cuts: list[int], late: list[int]
) -> None:
    """What is read later may have happened earlier: a step's journal lags behind its state."""
    steps = [step(number, number) for number in range(1, 5)]
    acks = [ack(number + 0.5) for number in range(1, 3)]
    sizes = [(0, 0, 0)]
    for source in late:
        n, s, a = sizes[-1]
        sizes.append((n + (source < 3), s + (3 <= source < 7), a + (source >= 7)))
    cursor, had = Cursor(), list[str]()
    for number, (n, s, a) in enumerate([*sizes, *[sizes[-1]] * 10]):
        now = log(STATES[:n], steps=steps[:s], acks=acks[:a], end=END if n == 3 else None)
        if n == 3 and (s, a) != (4, 2):
            now.end = None
        for one in now.after(cursor)[: cuts[number % len(cuts)]]:
            cursor = Cursor.parse(str(one.cursor))
            had.append(f"{one.kind} {one.data!r}")
    whole = log(STATES, steps=steps, acks=acks, end=END)
    assert sorted(had) == sorted(f"{one.kind} {one.data!r}" for one in whole.after(Cursor()))
    assert whole.complete(cursor)


def test_a_state_that_is_stored_late_is_told_all_the_same() -> None:
    """Of two that were set at once the later one may have been stored, and told, first."""
    running, cancelling = state(StateType.RUNNING, 1), state(StateType.CANCELLING, 3)
    early = log([running, cancelling]).after(Cursor())
    late = log([running, state(StateType.PAUSED, 2), cancelling])
    assert told(late.after(early[-1].cursor)) == [("state", 2)]
    further = late.after(early[-1].cursor)[-1].cursor
    ended = log([*late.states, state(StateType.CANCELLED, 4)])
    assert told(ended.after(further)) == [("state", 4)]


def test_a_task_that_goes_on_after_its_end_has_another_end() -> None:
    first = log(STATES, end=END)
    cursor = first.after(Cursor())[-1].cursor
    assert first.complete(cursor)
    retried = log([*STATES, state(StateType.SCHEDULED, 10), state(StateType.RUNNING, 11)])
    assert not retried.complete(cursor)
    assert told(retried.after(cursor)) == [("state", 10), ("state", 11)]
    again = log([*retried.states, state(StateType.COMPLETED, 12)], end=END)
    assert [one.kind for one in again.after(cursor)] == ["state", "state", "state", "end"]


@pytest.mark.parametrize("text", ["", "x", "1~.0", "1~.0.0.End", "1~g.0.0", "9" * 10 + "~.0.0"])
def test_what_is_no_id_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="no event with this id"):
        Cursor.parse(text)


def test_a_cursor_further_than_there_is_waits() -> None:
    assert log(STATES[:1]).after(Cursor(states=5, steps=7, acks=2)) == []
