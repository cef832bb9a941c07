"""Writes the result of a task that a backend worked on, and its report."""

from __future__ import annotations

from typing import Final

from vibesurf_blocks.engines.backend.state import State
from vibesurf_blocks.engines.protocol import EngineContext
from vibesurf_blocks.engines.reader.markdown import escape
from vibesurf_blocks.engines.reader.text import clean, redact, shorten
from vibesurf_blocks.reports import Fact, Frame, TimelineItem, render
from vibesurf_blocks.reports.render import prepare

_PACKAGE: Final = "vibesurf_blocks.engines.backend"
_TEMPLATE: Final = "backend.html.j2"
_TASK: Final = 2_000
_SHOWN: Final = 300

prepare(_PACKAGE, _TEMPLATE)


def result(state: State) -> str:
    """The result as markdown: the backend's own, and below it what is to know of it."""
    parts = [state.result.rstrip() if state.result else f"*{escape(_nothing(state))}*"]
    below = [escape(note) for note in state.notes]
    if state.report_path:
        # A path of another machine: it is named and not read.
        path = clean(state.report_path).replace("`", "'")
        below.append(f"The backend's own report lies on its machine: `{path}`")
    if below:
        parts.append("---\n\n" + "\n\n".join(below))
    return "\n\n".join(parts) + "\n"


def report(context: EngineContext, state: State) -> str:
    """The report of a run as one self-contained HTML page."""
    steps = len(state.events) + state.earlier
    frame = Frame(
        title=shorten(clean(redact(context.task.task_description)), 120),
        engine="VibeSurf backend",
        task=shorten(redact(context.task.task_description), _TASK),
        session_id=context.task.session_id,
        task_id=context.task_id,
        summary=_summary(state),
        error=state.error,
        facts=[
            Fact(f"{round(state.progress * 100)} %", "done", "good" if _good(state) else "plain"),
            Fact(str(steps), "steps seen"),
            Fact(str(len(state.instructions)), "instructions"),
        ],
        timeline=[
            TimelineItem(name=event.name, tone="good" if event.ok else "bad")
            for event in state.events
        ],
    )
    return render(
        frame,
        package=_PACKAGE,
        template=_TEMPLATE,
        result=state.result,
        nothing=_nothing(state),
        state=state,
    )


def _good(state: State) -> bool:
    return state.ended and not state.stopped and state.error is None


def _summary(state: State) -> str:
    if state.stopped:
        return "Stopped before its end."
    if state.ended:
        return "Done by the backend." if state.error is None else "Not done."
    if state.task_id is None:
        return "Not handed to the backend yet."
    return f"At work on the backend: {state.active_step or state.status or 'just begun'}"


def _nothing(state: State) -> str:
    if state.task_id is None:
        return "The task was not handed to the VibeSurf backend."
    last = f" It was at: {shorten(state.active_step, _SHOWN)}" if state.active_step else ""
    return f"The VibeSurf backend has shown no result of task {state.task_id}.{last}"
