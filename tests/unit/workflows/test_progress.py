"""Which steps run, by how the earlier ones ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Completed, Failed, Running

from tests.support.stack import ROOT
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.prefect_api.children import Child
from vibesurf_blocks.workflows import templates
from vibesurf_blocks.workflows.definition import Outcome, Workflow
from vibesurf_blocks.workflows.progress import Ended, Progress, ended_as

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def child(name: str, state: State[Any], round_: int = 0, number: int = 0) -> Child:
    run = FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=state,
        end_time=NOON if state.is_final() else None,
        parameters={"session_id": "s"},
    )
    return Child(run, name, round_, number)


def ended(name: str, state: State[Any], result: str = "", **more: int) -> Ended:
    return ended_as(child(name, state, **more), result)


def progress(
    *steps: dict[str, Any], found: tuple[Ended | Child, ...] = (), round_: int = 0
) -> Progress:
    # Sessions of their own, so that steps may run side by side.
    values = [{"task": "x", "session_id": step["name"], **step} for step in steps]
    return Progress.of(Workflow.model_validate({"steps": values}), "s", round_, found)


def names(one: Progress, now: datetime = NOON) -> list[str]:
    return [start.step.name for start in one.next(now)]


def outcomes(one: Progress) -> dict[str, str]:
    return {name: how.outcome.value for name, how in one.ended.items()}


DIAMOND: list[dict[str, Any]] = [
    {"name": "d", "needs": ["b", "c"]},
    {"name": "b", "needs": ["a"]},
    {"name": "c", "needs": ["a"]},
    {"name": "a"},
]


def test_steps_run_as_soon_as_what_they_need_has_completed() -> None:
    one = progress(*DIAMOND)
    assert names(one) == ["a"]
    one.end(ended("a", Completed()))
    assert sorted(names(one)) == ["b", "c"]
    one.begin(child("b", Running()))
    one.end(ended("c", Completed()))
    assert names(one) == []
    one.end(ended("b", Completed()))
    [start] = one.next(NOON)
    assert (start.step.name, {run.part for run in start.after}) == ("d", {"b", "c"})


@pytest.mark.parametrize("state", [Failed(message="no"), Cancelled(message="no")])
def test_what_needs_a_step_that_did_not_complete_is_skipped(state: State[Any]) -> None:
    one = progress(*DIAMOND, found=(ended("a", state),))
    assert names(one) == []
    assert one.done
    assert set(outcomes(one).values()) == {outcomes(one)["a"], "skipped"}
    assert one.failures == ["a"]


def test_conditions_on_outcome_and_text_choose_the_branch() -> None:
    steps: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "found", "when": {"step": "a", "contains": "STRASSE"}},
        {"name": "none", "when": {"step": "a", "lacks": "straße"}},
        {"name": "mend", "when": {"step": "a", "outcome": "failed"}},
        {"name": "after", "when": {"step": "mend", "outcome": ["skipped", "completed"]}},
    ]
    one = progress(*steps, found=(ended("a", Completed(), "Die Straße."),))
    assert sorted(names(one)) == ["after", "found"]
    assert {"none", "mend"} <= one.ended.keys()
    other = progress(*steps, found=(ended("a", Failed()),))
    assert names(other) == ["mend"]


def test_a_retry_waits_for_its_backoff() -> None:
    step = {"name": "a", "retries": 2, "backoff_seconds": 10}
    one = progress(step, found=(ended("a", Failed()),))
    assert (names(one), one.seconds_to_retry(NOON)) == ([], 10)
    assert names(one, NOON + timedelta(seconds=10)) == ["a"]
    one.end(ended("a", Failed(), number=1))
    assert one.seconds_to_retry(NOON) == 20
    one.end(ended("a", Failed(), number=2))
    assert (outcomes(one), one.done) == ({"a": "failed"}, True)


FALLBACK: list[dict[str, Any]] = [
    {"name": "a", "on_failure": {"fallback": "b"}},
    {"name": "b"},
    {"name": "c", "needs": "a"},
]


def test_a_fallback_stands_in_for_what_failed() -> None:
    one = progress(*FALLBACK, found=(ended("a", Failed()),))
    assert names(one) == ["b"]
    one.end(ended("b", Completed(), "instead"))
    assert names(one) == ["c"]
    seen = one.resolved("a", "c")
    assert seen is not None
    assert seen.result == "instead"
    assert one.failures == []
    # Run again, because a later step failed: neither runs a second time.
    found = (ended("a", Failed()), ended("b", Completed()), ended("c", Failed()))
    assert names(progress(*FALLBACK, found=found, round_=1)) == ["c"]


def test_a_fallback_is_skipped_where_nothing_failed_and_may_fail_itself() -> None:
    one = progress(*FALLBACK, found=(ended("a", Completed()),))
    assert names(one) == ["c"]
    assert outcomes(one)["b"] == "skipped"
    other = progress(*FALLBACK, found=(ended("a", Failed()), ended("b", Failed())))
    assert names(other) == []
    assert other.failures == ["a"]


def test_a_stop_starts_nothing_more_even_what_does_not_need_it() -> None:
    one = progress(
        {"name": "a", "on_failure": ["stop", "alert"]},
        {"name": "b"},
        {"name": "c", "needs": "b"},
        found=(child("b", Running()), ended("a", Failed())),
    )
    assert names(one) == []
    assert (outcomes(one)["c"], one.done) == ("skipped", False)
    one.end(ended("b", Completed()))
    assert one.done


def test_another_round_keeps_what_completed_and_tries_the_rest() -> None:
    found = (ended("a", Completed()), ended("b", Failed()), ended("c", Cancelled()))
    one = progress(*DIAMOND, found=found, round_=1)
    assert sorted(names(one)) == ["b", "c"]
    assert all(start.number == 0 for start in one.next(NOON))


@pytest.mark.parametrize(("round_", "earlier"), [(0, False), (1, True)])
def test_what_a_fallback_stood_in_for_is_told_of_in_its_own_round(
    round_: int, earlier: bool
) -> None:
    found = (ended("a", Failed(message="gone")), ended("b", Completed()))
    steps: list[dict[str, Any]] = [
        {"name": "a", "on_failure": {"fallback": "b", "alert": True}},
        {"name": "b"},
    ]
    how = progress(*steps, found=found, round_=round_).ended["a"]
    assert (how.outcome, how.earlier) == (Outcome.FAILED, earlier)


def test_two_steps_never_share_a_session() -> None:
    one = progress({"name": "a", "session_id": "x"}, {"name": "b", "session_id": "x"})
    assert names(one) == ["a"]


def test_a_task_is_filled_with_what_was_found_and_never_twice() -> None:
    steps = {"a": {"result": "{{ inputs.secret }} & <b>"}}
    filled = templates.fill(
        "{{ inputs.n }}: {{ steps.a.result | truncate(40) }}", steps, {"n": 7, "secret": "x"}
    )
    assert filled == "7: {{ inputs.secret }} & <b>"
    with pytest.raises(InvalidInput, match="cannot be filled in"):
        templates.fill("{{ inputs.n | truncate('x') }}", {}, {"n": "y" * 500})


def test_the_documented_workflow_ends_where_two_fails_for_good() -> None:
    text = (ROOT / "examples" / "workflow.yaml").read_text()
    one = Progress.of(Workflow.model_validate(text), "s", 0, [ended("one", Completed())])
    for number in range(3):
        assert names(one, NOON + timedelta(minutes=1)) == ["two"]
        one.end(ended("two", Failed(message="gone"), number=number))
    assert names(one) == []
    assert outcomes(one) == {"one": "completed", "two": "failed", "three": "skipped"}
    assert one.failures == ["two"]
