"""A workflow that cannot be meant is refused before anything runs, with the step's name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.stack import ROOT
from vibesurf_blocks.workflows.check import check_templates
from vibesurf_blocks.workflows.definition import Outcome, Workflow


def workflow(*steps: dict[str, Any], **more: Any) -> Workflow:
    return Workflow.model_validate({"steps": [{"task": "x", **step} for step in steps], **more})


def why(name: str, step: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "when": {"step": step, **more}}


a: dict[str, Any] = {"name": "a"}
REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no step": ([], "at least 1"),
    "a number first": ([{"name": "1st"}], "String should match pattern"),
    "same name": ([a, a], "there are 2 steps named 'a'"),
    "needs nothing there": ([{"name": "b", "needs": "a"}], "`needs` names 'a', which is no step"),
    "when of nothing there": ([why("b", "a")], "`when` names 'a'"),
    "fallback not there": (
        [{"name": "b", "on_failure": {"fallback": "a"}}],
        "`on_failure.fallback` names 'a'",
    ),
    "own fallback": ([{"name": "b", "on_failure": {"fallback": "b"}}], "its own fallback"),
    "fallback of two": (
        [
            a,
            {"name": "b", "on_failure": {"fallback": "a"}},
            {"name": "c", "on_failure": {"fallback": "a"}},
        ],
        "'a' is the fallback of 2 steps",
    ),
    "needs itself": ([{"name": "b", "needs": ["b"]}], "wait for each other"),
    "cycle": (
        [{"name": "a", "needs": "c"}, {"name": "b", "needs": "a"}, {"name": "c", "needs": "b"}],
        "wait for each other",
    ),
    "cycle by when": ([{"name": "a", "needs": "b"}, why("b", "a")], "wait for each other"),
    "cycle by fallback": (
        [
            {"name": "a", "on_failure": {"fallback": "b"}},
            {"name": "b", "needs": "c"},
            {"name": "c", "needs": "a"},
        ],
        "wait for each other",
    ),
    "two outcomes": (
        [
            a,
            {
                "name": "b",
                "when": [{"step": "a", "outcome": "failed"}, {"step": "a", "outcome": "completed"}],
            },
        ],
        "'b' can never run",
    ),
    "never skipped": ([a, why("b", "a", outcome="skipped")], "'a' is never skipped"),
    "after the stop": (
        [a | {"on_failure": "stop"}, why("b", "a", outcome="failed")],
        "the workflow stops where 'a' fails",
    ),
    "both branches": (
        [a, why("b", "a", outcome="failed"), {"name": "c", "needs": ["a", "b"]}],
        "'c' can never run",
    ),
    "unknown outcome": ([a, why("b", "a", outcome="done")], "Input should be 'completed'"),
    "unknown field": ([a | {"url": "x"}], "Extra inputs"),
}


@pytest.mark.parametrize(("steps", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(steps: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        workflow(*steps)
    assert words in str(caught.value)


def test_a_join_of_branches_that_takes_what_was_skipped_is_allowed() -> None:
    either = ["completed", "skipped"]
    workflow(
        a,
        why("good", "a"),
        why("bad", "a", outcome="failed"),
        {
            "name": "join",
            "when": [{"step": "good", "outcome": either}, {"step": "bad", "outcome": either}],
        },
    )


def test_yaml_is_taken_and_broken_yaml_says_where() -> None:
    read = Workflow.model_validate("steps:\n- {name: ä1, task: x}".replace("ä1", "one"))
    assert read.steps[0].on_failure.alert is False
    with pytest.raises(ValidationError, match="not YAML in line 2, column 9"):
        Workflow.model_validate("steps:\n- name: : x")
    with pytest.raises(ValidationError, match="valid dictionary"):
        Workflow.model_validate("just words")


def test_the_documented_workflow_is_sound() -> None:
    read = Workflow.model_validate((ROOT / "examples" / "workflow.yaml").read_text())
    check_templates(read, read.inputs)
    one, two, three = read.steps
    assert one.on_failure.alert
    assert (two.needs, two.retries) == (("one",), 2)
    assert three.after == ("two",)


TEMPLATES = {
    "unknown step": ("{{ steps.zoo.result }}", "names no step that comes before it"),
    "later step": ("{{ steps.c.result }}", "names no step that comes before it"),
    "unknown field": ("{{ steps.a.text }}", "names nothing a step has; there are result"),
    "unknown input": ("{{ inputs.url }}", "names no input; there are site"),
    "unknown root": ("{{ config.key }}", "'{{ config.key }}' names nothing"),
    "too deep": ("{{ steps.a.result.x }}", "names nothing"),
    "statement": ("{% for x in steps %}{% endfor %}", "a statement (for) in line 1"),
    "call": ("{{ steps.a.result.upper() }}", "only references"),
    "arithmetic": ("{{ 9 ** 9 ** 9 }}", "only references"),
    "unknown filter": ("{{ inputs.site | map }}", "there is no filter 'map'"),
    "broken": ("\n{{ steps.a. }}", "no template in line 2"),
    "internals": ("{{ steps.a.__class__ }}", "names nothing a step has"),
}


@pytest.mark.parametrize(("task", "words"), TEMPLATES.values(), ids=TEMPLATES.keys())
def test_a_template_that_names_nothing_is_refused(task: str, words: str) -> None:
    read = workflow(a, {"name": "b", "needs": "a", "task": task}, {"name": "c"})
    with pytest.raises(ValueError, match="step 'b': ") as caught:
        check_templates(read, ["site"])
    assert words in str(caught.value)


def test_outcomes_are_the_words_of_rows() -> None:
    assert set(Outcome) == {"completed", "failed", "stopped", "skipped"}
