"""Tells the story of a run: its result as markdown, and its report with a picture of each step."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from vibesurf_blocks.engines.browser_use.state import State, Taken
from vibesurf_blocks.engines.reader.text import redact, short_url, shorten
from vibesurf_blocks.reports import Fact, Frame, TimelineItem, render
from vibesurf_blocks.reports.render import prepare

if TYPE_CHECKING:
    from vibesurf_blocks.engines.protocol import EngineContext

_PACKAGE = "vibesurf_blocks.engines.browser_use"
_TEMPLATE = "story.html.j2"
_TASK = 4_000
_TITLE = 90
_RESULT = 200_000
_PICTURES = 200

prepare(_PACKAGE, _TEMPLATE)


def result_of(state: State) -> tuple[str, str | None]:
    """The result as markdown, and why the task failed; None where it did not."""
    if state.finished:
        answer = (state.result or "").strip()
        if state.success is False:
            reason = shorten(" ".join(answer.split()), 500) or "it gave no reason"
            return _cut(answer), f"The agent could not do the task: {reason}"
        return _cut(answer or "The agent is done and gave no answer."), None
    return _so_far(state), state.gave_up


def _so_far(state: State) -> str:
    if not state.taken:
        return "The agent has not taken a step.\n"
    last = next((one for one in reversed(state.taken) if one.memory), None)
    blocks = ["The agent did not finish. This is how far it came."]
    if last is not None:
        blocks.append(f"> {last.memory}")
    blocks.append("\n".join(f"{one.number}. {one.name}" for one in state.taken))
    found = [
        act.result
        for one in state.taken
        for act in one.acts
        if act.kind in {"extract", "read_file"} and act.result
    ]
    if found:
        blocks += ["## What it found", *found]
    return _cut("\n\n".join(blocks) + "\n")


def _cut(text: str) -> str:
    return text if len(text) <= _RESULT else f"{text[:_RESULT]}\n\n*Shortened.*\n"


def report(context: EngineContext, task: str, state: State) -> str:
    """The report of a run as one self-contained HTML page.

    Args:
        context: Where its pictures are.
        task: What was asked, without secrets.
        state: What was done, without secrets.
    """
    result, error = result_of(state)
    seconds = sum(one.seconds for one in state.taken)
    facts = [
        Fact(str(len(state.taken)), "step" if len(state.taken) == 1 else "steps"),
        Fact(_duration(seconds), "at work"),
    ]
    if state.usage.tokens:
        facts.append(Fact(f"{state.usage.tokens:,}", "tokens"))
    if state.usage.cost is not None:
        facts.append(Fact(f"${state.usage.cost:,.4f}", "cost"))
    task = redact(task)
    frame = Frame(
        title=shorten(" ".join(task.split()), _TITLE),
        engine="Browser agent",
        task=shorten(task, _TASK),
        session_id=context.task.session_id,
        task_id=context.task_id,
        summary=_summary(state),
        error=error,
        facts=facts,
        timeline=[
            TimelineItem(one.name, "good" if one.ok else "bad", f"step-{one.number}")
            for one in state.taken
        ],
    )
    return render(
        frame,
        package=_PACKAGE,
        template=_TEMPLATE,
        result=result if state.finished else None,
        steps=[(one, _picture(context, one)) for one in state.taken],
        instructions=state.instructions,
        files={name: text for name, text in state.files.items() if name != "todo.md"},
        profile=context.task.llm_profile_name,
        mode=context.task.agent_mode,
        short_url=short_url,
        duration=_duration,
    )


def _summary(state: State) -> str:
    steps = f"{len(state.taken)} {'step' if len(state.taken) == 1 else 'steps'}"
    if not state.finished:
        return f"Not finished after {steps}."
    if state.success is False:
        return f"Given up after {steps}."
    return f"Done in {steps}."


def _picture(context: EngineContext, step: Taken) -> str | None:
    """The picture of a step as a data URI: the page has to hold all that it shows."""
    if step.picture is None or step.number > _PICTURES:
        return None
    try:
        data = (context.files / Path(step.picture).name).read_bytes()
    except OSError:
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
