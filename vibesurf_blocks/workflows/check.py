"""Refuses workflows that cannot be meant: unknown names, cycles, steps that never run."""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from vibesurf_blocks.workflows import templates
from vibesurf_blocks.workflows.definition import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from vibesurf_blocks.workflows.definition import Step, Workflow

_ALL = frozenset(Outcome)


def check(workflow: Workflow) -> None:
    """See that a workflow can be run, whatever its steps come to; inputs apart.

    Raises:
        ValueError: It cannot; the message names the step.
    """
    _check_names(workflow)
    before = predecessors(workflow)
    try:
        tuple(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        msg = f"the steps {circle} wait for each other"
        raise ValueError(msg) from error
    for step in workflow.steps:
        _check_reachable(workflow, step)


def check_templates(workflow: Workflow, inputs: Collection[str]) -> None:
    """See that every task asks only for inputs there are, and for steps that come before.

    Raises:
        ValueError: One does not; the message names the step.
    """
    before = predecessors(workflow)
    for step in workflow.steps:
        earlier = _all_before(step.name, before)
        names = [one.name for one in workflow.steps if one.name in earlier]
        try:
            templates.check(step.task, names, inputs)
        except ValueError as error:
            msg = f"step {step.name!r}: {error}"
            raise ValueError(msg) from error


def predecessors(workflow: Workflow) -> dict[str, set[str]]:
    """For each step those that must have ended before it is decided whether it runs."""
    fallback_of = workflow.fallback_of
    before: dict[str, set[str]] = {}
    for step in workflow.steps:
        own = set(step.after)
        stands_for = fallback_of.get(step.name)
        waits = {fallback for one in own for fallback in workflow.fallbacks(one)}
        if stands_for is not None:
            own.add(stands_for)
            waits -= {step.name}
        before[step.name] = own | waits
    return before


def _all_before(name: str, before: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = list(before[name])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left.extend(before[one])
    return found


def _check_names(workflow: Workflow) -> None:
    names = Counter(step.name for step in workflow.steps)
    for name, times in names.items():
        if times > 1:
            msg = f"there are {times} steps named {name!r}; each needs its own name"
            raise ValueError(msg)
    stand_ins = Counter(
        step.on_failure.fallback for step in workflow.steps if step.on_failure.fallback
    )
    for step in workflow.steps:
        for field, named in (
            ("needs", step.needs),
            ("when", [one.step for one in step.when]),
            ("on_failure.fallback", [step.on_failure.fallback or step.name]),
        ):
            for name in named:
                if name not in names:
                    msg = f"step {step.name!r}: `{field}` names {name!r}, which is no step"
                    raise ValueError(msg)
        if step.on_failure.fallback == step.name:
            msg = f"step {step.name!r} cannot be its own fallback"
            raise ValueError(msg)
    for name, times in stand_ins.items():
        if times > 1:
            msg = f"step {name!r} is the fallback of {times} steps; give each its own"
            raise ValueError(msg)


def _check_reachable(workflow: Workflow, step: Step) -> None:
    """See that a step can run at all: follow what it asks of others, and what that asks."""
    asked: dict[str, frozenset[Outcome]] = {}
    must_run = [step.name]
    seen: set[str] = set()
    fallback_of = workflow.fallback_of
    while must_run:
        name = must_run.pop()
        if name in seen:
            continue
        seen.add(name)
        one = workflow.step(name)
        for other, outcomes in _asks(one).items():
            asked[other] = asked.get(other, _ALL) & outcomes
            _check_possible(workflow, step, other, asked[other])
            if Outcome.SKIPPED not in asked[other]:
                must_run.append(other)
        if name in fallback_of:
            must_run.append(fallback_of[name])


def _asks(step: Step) -> dict[str, frozenset[Outcome]]:
    """What a step asks of others in order to run."""
    asked = {name: frozenset({Outcome.COMPLETED}) for name in step.needs}
    conditions: dict[str, frozenset[Outcome]] = {}
    for one in step.when:
        conditions[one.step] = conditions.get(one.step, _ALL) & frozenset(one.outcome)
    return asked | conditions


def _check_possible(
    workflow: Workflow, step: Step, other: str, outcomes: frozenset[Outcome]
) -> None:
    if not outcomes:
        msg = f"step {step.name!r} can never run: what it needs asks {other!r} for two outcomes"
        raise ValueError(msg)
    one = workflow.step(other)
    if outcomes <= {Outcome.SKIPPED} and not one.after and other not in workflow.fallback_of:
        msg = f"step {step.name!r} can never run: {other!r} is never skipped"
        raise ValueError(msg)
    if outcomes <= {Outcome.FAILED} and one.on_failure.stop:
        msg = f"step {step.name!r} can never run: the workflow stops where {other!r} fails"
        raise ValueError(msg)
