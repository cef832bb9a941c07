"""How far a workflow is, by the children it has, and which steps are to be started next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.tasks import Status
from vibesurf_blocks.workflows.check import predecessors
from vibesurf_blocks.workflows.definition import Outcome

if TYPE_CHECKING:
    from vibesurf_blocks.prefect_api.children import Child
    from vibesurf_blocks.workflows.definition import Step, When, Workflow

_LONGEST_DELAY: Final = timedelta(days=1)
_OUTCOMES: Final = {
    Status.COMPLETED: Outcome.COMPLETED,
    Status.FAILED: Outcome.FAILED,
    Status.STOPPED: Outcome.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended.

    Attributes:
        outcome: In a word.
        why: Why it was not completed.
        child: Its last run, None for one that never had one.
        result: What it found, as markdown.
        report: Path of its report.
        earlier: Whether it failed in an earlier round, and its fallback stood in for it.
    """

    outcome: Outcome
    why: str = ""
    child: Child | None = None
    result: str = ""
    report: str | None = None
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """A step to be started now.

    Attributes:
        step: The step.
        number: Which try it is in this round, from 0.
        session_id: The session to run it in.
        after: Runs of the steps it comes after.
    """

    step: Step
    number: int
    session_id: str
    after: tuple[Child, ...]


@dataclass(slots=True)
class Progress:
    """How far a workflow is in the present round.

    What was completed, in whatever round, is not run again. What failed in an earlier round is
    tried anew, unless its fallback did.

    Attributes:
        workflow: The workflow.
        session_id: The session of steps that name none.
        round: How often its flow run has ended before.
        ended: How each step that has ended did.
        active: The runs that have not.
    """

    workflow: Workflow
    session_id: str
    round: int
    ended: dict[str, Ended] = field(default_factory=dict)
    active: dict[str, Child] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    _last: dict[str, Child] = field(default_factory=dict)
    _order: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, workflow: Workflow, session_id: str, round_: int, found: Iterable[Ended | Child]
    ) -> Progress:
        """The progress of a workflow with these children, in their order; ended ones as `Ended`."""
        progress = cls(workflow, session_id, round_)
        progress._order = tuple(TopologicalSorter(predecessors(workflow)).static_order())
        for one in found:
            if isinstance(one, Ended):
                progress.end(one)
            else:
                progress.begin(one)
        for name, child in progress._last.items():
            # Failed in an earlier round, and its fallback stood in for it.
            stood_in = [progress.ended.get(one) for one in workflow.fallbacks(name)]
            if any(one is not None and one.outcome is Outcome.COMPLETED for one in stood_in):
                earlier = child.round != round_
                how = Ended(Outcome.FAILED, _why(child), child, earlier=earlier)
                progress.ended.setdefault(name, how)
        return progress

    @property
    def done(self) -> bool:
        """Whether every step has ended."""
        return len(self.ended) == len(self.workflow.steps)

    def begin(self, child: Child) -> None:
        """Take note of a run that was made for a step."""
        self.active[child.part] = child
        self._note(child)

    def end(self, how: Ended) -> None:
        """Take note of a run that has ended; the step has, unless it is to be tried again."""
        child = how.child
        assert child is not None  # noqa: S101 - a run has ended
        name = child.part
        if name not in self._order:
            return  # of the workflow as it was once
        self.active.pop(name, None)
        self._note(child)
        if how.outcome is Outcome.COMPLETED or (
            child.round == self.round
            and (
                how.outcome is Outcome.STOPPED
                or self.tries[name] > self.workflow.step(name).retries
            )
        ):
            self.ended[name] = how

    def fail(self, name: str, why: str) -> None:
        """Take note of a step that could not be started at all."""
        self.ended[name] = Ended(Outcome.FAILED, why, self._last.get(name))

    def next(self, now: datetime) -> list[Start]:
        """The steps to start now; those that are not to run are skipped."""
        taken = {str(child.run.parameters.get("session_id")) for child in self.active.values()}
        starts: list[Start] = []
        for name in self._order:
            if name in self.ended or name in self.active:
                continue
            step = self.workflow.step(name)
            decided = self._decide(step)
            if isinstance(decided, str):
                self.ended[name] = Ended(Outcome.SKIPPED, decided)
            elif decided and self._due(step) <= now:
                session = step.session_id or self.session_id
                # Two agents never work in one session at once.
                if session not in taken:
                    taken.add(session)
                    number = self.tries.get(name, 0)
                    starts.append(Start(step, number, session, tuple(self._after(step))))
        return starts

    def seconds_to_retry(self, now: datetime) -> float | None:
        """Seconds until a step is to be tried again, None where none is."""
        waiting = [
            self._due(self.workflow.step(name))
            for name in self.tries
            if name not in self.ended and name not in self.active
        ]
        return max(0.0, (min(waiting) - now).total_seconds()) if waiting else None

    def resolved(self, name: str, viewer: str | None = None) -> Ended | None:
        """How a step ended in the eyes of another: where its fallback completed, it has too.

        Returns:
            None while that is open.
        """
        own = self.ended.get(name)
        if own is None or own.outcome is not Outcome.FAILED:
            return own
        fallback = self.workflow.step(name).on_failure.fallback
        if fallback is None or viewer in self.workflow.fallbacks(name):
            return own
        instead = self.resolved(fallback)
        if instead is None or instead.outcome is Outcome.COMPLETED:
            return instead
        return own

    @property
    def failures(self) -> list[str]:
        """The steps that failed or were stopped, and for which nothing stood in."""
        stand_ins = self.workflow.fallback_of
        return [
            step.name
            for step in self.workflow.steps
            if step.name not in stand_ins
            and (how := self.resolved(step.name)) is not None
            and how.outcome in {Outcome.FAILED, Outcome.STOPPED}
        ]

    def _note(self, child: Child) -> None:
        self._last[child.part] = child
        if child.round == self.round:
            self.tries[child.part] = max(self.tries.get(child.part, 0), child.number + 1)

    def _decide(self, step: Step) -> bool | str:
        """Whether a step is to run: True, False where that is open, or why it is skipped."""
        if step.name in self.tries:
            return True  # begun: it is tried again
        for other in self.workflow.steps:
            if other.on_failure.stop and other.name != step.name:
                how = self.resolved(other.name, step.name)
                if (
                    how is not None
                    and how.outcome is Outcome.FAILED
                    and not self._instead(step.name, other.name)
                ):
                    return f"the workflow stopped where {other.name!r} failed"
        stands_for = self.workflow.fallback_of.get(step.name)
        if stands_for is not None:
            own = self.ended.get(stands_for)
            if own is None:
                return False
            if own.outcome is not Outcome.FAILED:
                return f"{stands_for!r} did not fail"
        conditions = {one.step for one in step.when}
        open_ = False
        for name in step.after:
            how = self.resolved(name, step.name)
            if how is None:
                open_ = True
            elif name not in conditions and how.outcome is not Outcome.COMPLETED:
                return f"it needs {name!r}, which {_word(how)}"
        if open_:
            return False
        for one in step.when:
            how = self.resolved(one.step, step.name)
            if how is not None and (why := _against(one, how)) is not None:
                return why
        return True

    def _instead(self, name: str, other: str) -> bool:
        return name in self.workflow.fallbacks(other)

    def _due(self, step: Step) -> datetime:
        tries = self.tries.get(step.name, 0)
        last = self._last.get(step.name)
        if tries == 0 or last is None or last.run.end_time is None:
            return datetime.min.replace(tzinfo=UTC)
        delay = timedelta(seconds=step.backoff_seconds * 2 ** (tries - 1))
        return last.run.end_time + min(delay, _LONGEST_DELAY)

    def _after(self, step: Step) -> Iterator[Child]:
        if step.name in self.tries:
            yield self._last[step.name]
            return
        names = list(step.after)
        stands_for = self.workflow.fallback_of.get(step.name)
        if stands_for is not None and stands_for not in names:
            names.append(stands_for)
        for name in names:
            how = self.resolved(name, step.name)
            if how is not None and how.child is not None:
                yield how.child


def outcome_of(child: Child) -> Outcome:
    """How a run that has ended did."""
    return _OUTCOMES[status_of(child.run.state)]


def ended_as(child: Child, result: str = "", report: str | None = None) -> Ended:
    """A run that has ended, with what it published."""
    return Ended(outcome_of(child), _why(child), child, result, report)


def _why(child: Child) -> str:
    state = child.run.state
    completed = state is None or state.is_completed()
    return "" if completed or state is None else state.message or ""


def _word(how: Ended) -> str:
    if how.outcome is Outcome.SKIPPED:
        return "was skipped"
    return "was stopped" if how.outcome is Outcome.STOPPED else how.outcome.value


def _against(condition: When, how: Ended) -> str | None:
    """Why a condition does not hold, None where it does."""
    if how.outcome not in condition.outcome:
        return f"{condition.step!r} {_word(how)}"
    found = how.result.casefold()
    if condition.contains is not None and condition.contains.casefold() not in found:
        return f"the result of {condition.step!r} does not hold {condition.contains!r}"
    if condition.lacks is not None and condition.lacks.casefold() in found:
        return f"the result of {condition.step!r} holds {condition.lacks!r}"
    return None
