"""What a VibeSurf backend answers, read with patience: servers of several versions leave out much.

What is missing or of another kind than documented counts as not said, except for what tells tasks
apart.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from vibesurf_blocks.tasks import Status

_TEXT_LIMIT: Final = 1_000_000
"""Characters of a result at the most."""


def storable(text: str) -> str:
    """The text without what no database keeps, cut where it is too long."""
    kept = text.replace("\x00", "").encode(errors="replace").decode()
    return kept if len(kept) <= _TEXT_LIMIT else kept[:_TEXT_LIMIT] + "\n\n…"


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return storable(value)
    return storable(json.dumps(value, ensure_ascii=False, default=str))


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _mapping(value: object) -> object:
    return value if isinstance(value, dict) else {}


Said = Annotated[str | None, BeforeValidator(_text)]


class Progress(BaseModel):
    """How far a task is, by `vibesurf_status`."""

    model_config = ConfigDict(frozen=True)

    overall_status: Said = None
    active_step: Said = None
    agent_statuses: JsonValue = None
    progress: Annotated[float, BeforeValidator(_number)] = 0.0


class Seen(BaseModel):
    """A task as `GET /tasks/detailed-status` shows it.

    Without an active task the fields are those of the task that ended last, where the backend
    shows them at all.
    """

    model_config = ConfigDict(frozen=True)

    has_active_task: bool
    task_id: Said = None
    status: Said = None
    session_id: Said = None
    task: Said = None
    result: Said = None
    error: Said = None
    pause_reason: Said = None
    stop_reason: Said = None
    report_path: Said = None
    vibesurf_status: Annotated[Progress, BeforeValidator(_mapping)] = Progress()

    @property
    def ended(self) -> bool:
        """Whether its status says that it has ended."""
        return self.status in {status.value for status in Status if status.terminal}

    @property
    def paused(self) -> bool:
        """Whether it rests."""
        return self.status == Status.PAUSED

    @property
    def signature(self) -> str:
        """What changes when the task moves; that an answer is newer does not count."""
        moves = self.vibesurf_status
        shown = [self.status, moves.active_step, moves.progress, moves.agent_statuses]
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


class Submitted(BaseModel):
    """The answer to a submit.

    Attributes:
        success: Whether the backend took the task.
        task_id: Its id there.
        active_task: What it works on, where it is busy.
        error: A word for what is wrong.
        message: A sentence on it.
    """

    model_config = ConfigDict(frozen=True)

    success: bool
    task_id: Said = None
    active_task: Annotated[dict[str, Any], BeforeValidator(_mapping)] = {}
    error: Said = None
    message: Said = None

    @property
    def busy(self) -> bool:
        """Whether it was not taken because another task is running."""
        told = (self.message or "").casefold()
        return not self.success and (bool(self.active_task) or "currently running" in told)

    @property
    def occupant(self) -> str | None:
        """Id of the task that it works on, where it is busy and says so."""
        return _text(self.active_task.get("task_id"))


def row(answer: dict[str, Any]) -> Seen:
    """A task from its row, `GET /tasks/{task_id}`, which servers of later versions have."""
    return Seen.model_validate(
        {
            "has_active_task": False,
            "task_id": answer.get("task_id"),
            "status": answer.get("status"),
            "session_id": answer.get("session_id"),
            "task": answer.get("task_description"),
            "result": answer.get("task_result"),
            "error": answer.get("error_message"),
            "report_path": answer.get("report_path"),
        }
    )
