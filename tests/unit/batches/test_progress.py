"""Which item is next, told by the children there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Completed, Failed, Running

from vibesurf_blocks.batches.order import Batch
from vibesurf_blocks.batches.progress import Progress
from vibesurf_blocks.prefect_api.children import Child
from vibesurf_blocks.tasks import Status

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def batch(*names: str, **how: Any) -> Batch:
    items = [{"id": name, "task_description": name} for name in names]
    return Batch.model_validate({"session_id": "s", "items": items, **how})


def progress(asked: Batch, *found: Child, round_: int = 0) -> Progress:
    assert asked.items is not None
    return Progress.of(asked, asked.named(asked.items), round_, found)


def child(
    part: str, state: State[Any], *, round_: int = 0, number: int = 0, session: str = "s"
) -> Child:
    run = FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=state,
        end_time=NOON if state.is_final() else None,
        parameters={"session_id": session},
    )
    return Child(run, part, round_, number)


def next_of(one: Progress, slots: int = 1, now: datetime = NOON) -> list[tuple[str, int, str]]:
    return [(s.entry.name, s.number, s.session_id) for s in one.next(slots, now)]


def test_serial_takes_one_after_another_whatever_slots_there_are() -> None:
    one = progress(batch("a", "b"))
    assert next_of(one, slots=5) == [("a", 0, "s")]
    one.take_in(child("a", Running()))
    assert next_of(one, slots=5) == []
    one.take_in(child("a", Completed()))
    assert next_of(one) == [("b", 0, "s")]
    one.take_in(child("b", Completed()))
    assert one.done


def test_parallel_fills_the_slots_with_a_session_for_each() -> None:
    one = progress(batch("a", "b", "c", mode="parallel"), child("a", Running(), session="s-2"))
    assert next_of(one, slots=2) == [("b", 0, "s-1")]
    assert next_of(one, slots=3) == [("b", 0, "s-1"), ("c", 0, "s-3")]


def test_items_of_one_session_never_run_side_by_side() -> None:
    items = [{"task_description": str(n), "session_id": "same"} for n in range(3)]
    asked = Batch.model_validate({"session_id": "s", "items": items, "mode": "parallel"})
    assert next_of(progress(asked), slots=3) == [("1", 0, "same")]


def test_a_failed_item_is_tried_again_first_after_its_delay() -> None:
    asked = batch("a", "b", retries=2, retry_delay_seconds=10)
    one = progress(asked, child("a", Failed()))
    assert next_of(one) == [("b", 0, "s")]  # not yet due: the others need not wait
    assert one.seconds_to_retry(NOON) == 10
    assert next_of(one, now=NOON + timedelta(seconds=10)) == [("a", 1, "s")]
    one.take_in(child("a", Failed(), number=1))
    assert one.seconds_to_retry(NOON) == 20
    one.take_in(child("a", Failed(), number=2))
    assert next_of(one, now=NOON + timedelta(days=1)) == [("b", 0, "s")]


def test_where_a_failure_stops_the_batch_nothing_overtakes_its_retry() -> None:
    asked = batch("a", "b", retries=1, retry_delay_seconds=10, on_failure="stop")
    one = progress(asked, child("a", Failed()))
    assert next_of(one) == []
    assert not one.done
    one.take_in(child("a", Failed(), number=1))
    assert (one.halted, one.done, next_of(one)) == (True, True, [])


def test_an_item_that_was_stopped_on_purpose_is_left_alone() -> None:
    one = progress(batch("a", "b", retries=3), child("a", Cancelled()))
    assert next_of(one) == [("b", 0, "s")]


def test_another_round_runs_what_is_missing_and_takes_over_what_still_runs() -> None:
    one = progress(
        batch("done", "failed", "stopped", "running", "new", mode="parallel"),
        child("done", Completed()),
        child("failed", Failed()),
        child("stopped", Cancelled()),
        child("running", Running(), session="s-1"),
        round_=1,
    )
    assert [name for name, _, _ in next_of(one, slots=9)] == ["failed", "stopped", "new"]
    assert all(number == 0 for _, number, _ in next_of(one, slots=9))


def test_what_was_completed_stays_completed() -> None:
    one = progress(batch("a"), child("a", Completed()), child("a", Failed(), number=1))
    assert one.done
    assert one.counts[Status.COMPLETED] == 1
