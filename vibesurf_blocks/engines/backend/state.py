"""What the backend engine knows after a step; its checkpoint is this as JSON."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from vibesurf_blocks.engines.backend.answers import Seen
from vibesurf_blocks.engines.protocol import Step
from vibesurf_blocks.engines.reader.text import clean, shorten
from vibesurf_blocks.tasks import Status

_NAME: Final = 120
_EVENTS: Final = 500
_TEXT: Final = 2_000
_OTHERS: Final = 100
_WORTH: Final = 0.1
"""Progress that is worth a step where nothing else is new."""


class Event(BaseModel):
    """One step, for the timeline of the report."""

    name: str
    ok: bool


class State(BaseModel):
    """State of a run.

    Attributes:
        engine: Tells the checkpoints of this engine from those of others.
        version: Of this format.
        block: The VibeSurf Backend block that is used.
        url: Where the backend answers.
        profile: The LLM profile that it is to use.
        task_id: The task's id on the backend, None before it was handed over.
        occupant: Id of another task that the backend was last seen to work on.
        before: Ids of tasks that it had before ours, those seen last; None where a version that
            did not keep them made the checkpoint.
        waited: Seconds it was waited for because it was busy.
        progress: Share of the task that is done, 0 to 1.
        active_step: What the agent there did last.
        ended: Whether the task has ended there, or is lost.
        stopped: Whether we stopped it.
        status: Its status when last seen.
        signature: What it showed then, to tell when it moves.
        told: What of that the last step told: status, step and progress.
        result: Its result, markdown.
        error: Why it failed.
        report_path: Where its report lies on the backend's machine.
        pending: Instructions to send once it was handed over.
        instructions: Instructions the backend has taken.
        notes: Sentences on what was asked for and could not be done.
        events: The steps, oldest first; of very many the last ones.
        earlier: Steps that are left out of them.
    """

    model_config = ConfigDict(extra="forbid")

    engine: Literal["vibesurf-backend"] = "vibesurf-backend"
    version: Literal[1] = 1
    block: str
    url: str
    profile: str
    task_id: str | None = None
    occupant: str | None = None
    before: list[str] | None = None
    waited: float = 0.0
    progress: float = 0.0
    active_step: str | None = None
    ended: bool = False
    stopped: bool = False
    status: str | None = None
    signature: str | None = None
    told: tuple[str | None, str | None, float] | None = None
    result: str | None = None
    error: str | None = None
    report_path: str | None = None
    pending: list[str] = []
    instructions: list[str] = []
    notes: list[str] = []
    events: list[Event] = []
    earlier: int = 0

    def step(self, name: str, *, ok: bool = True) -> Step:
        """Take note of a step."""
        name = clean(name, _NAME)
        self.events.append(Event(name=name, ok=ok))
        if len(self.events) > _EVENTS:
            del self.events[0]
            self.earlier += 1
        return Step(name=name, progress=self.progress, done=self.ended, ok=ok)

    def not_ours(self, task_id: str) -> None:
        """Take note of a task that the backend had before it was given ours."""
        if task_id not in (self.before or ()):
            self.before = [*(self.before or ()), task_id][-_OTHERS:]

    def moved(self, seen: Seen) -> bool:
        """Take in how far the task is; whether that is worth a step, as not every percent is."""
        self.status = seen.status
        self.signature = seen.signature
        self.active_step = clean(seen.vibesurf_status.active_step or "", _TEXT) or None
        share = min(0.99, max(0.0, seen.vibesurf_status.progress / 100))
        # What was shown is not taken back.
        self.progress = max(self.progress, round(share, 4))
        now = (self.status, self.active_step, self.progress)
        if self.told is not None and self.told[:2] == now[:2] and now[2] < self.told[2] + _WORTH:
            return False
        self.told = now
        return True

    def kept(self, seen: Seen) -> None:
        """Take in what the task has to show."""
        self.result = seen.result or self.result
        self.report_path = seen.report_path or self.report_path

    def end(self, seen: Seen) -> None:
        """Take in how the task ended."""
        self.moved(seen)
        self.kept(seen)
        self.ended = True
        self.progress = 1.0
        self.error = self._why(seen)

    def _why(self, seen: Seen) -> str | None:
        """Why the task failed; None where it did not."""
        if seen.status == Status.STOPPED or (seen.stop_reason and not self.stopped):
            # Some versions say `completed` of a task that was stopped.
            reason = f": {_sentence(seen.stop_reason)}" if seen.stop_reason else "."
            return f"The task was stopped on the VibeSurf backend{reason}"
        if seen.status == Status.FAILED:
            told = _sentence(seen.error) if seen.error else "it does not say why."
            return f"The task failed on the VibeSurf backend: {told}"
        if seen.result is None and seen.error:
            return f"The task failed on the VibeSurf backend: {_sentence(seen.error)}"
        return None


def block_of(checkpoint: dict[str, JsonValue]) -> str | None:
    """The VibeSurf Backend block that a checkpoint of this engine names; None of any other's."""
    block = checkpoint.get("block") if checkpoint.get("engine") == "vibesurf-backend" else None
    return block if isinstance(block, str) else None


def _sentence(text: str) -> str:
    text = shorten(clean(text), _TEXT)
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
