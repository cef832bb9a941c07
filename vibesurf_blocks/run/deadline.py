"""When a piece of an agent's work has to be over, in a file that its worker looks at.

The process keeps its limits by itself, as long as it gets to: one that is stuck in C, or frozen,
does not. So it writes down beforehand until when it may work, and why no longer, and its worker
ends it some seconds after that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vibesurf_blocks.workspace import checkpoints_dir


class Due(BaseModel):
    """Until when a process may work on what it does now.

    Attributes:
        at: Seconds since the epoch.
        reason: Why no longer: a sentence for the run's state.
        pid: The process; what an earlier one of the run left says nothing of a later one.
    """

    model_config = ConfigDict(frozen=True)

    at: float
    reason: str
    pid: int


class Deadline:
    """The deadline of one task: beside its checkpoint, one file in the workspace."""

    def __init__(self, workspace: Path, task_id: str) -> None:
        self._path = checkpoints_dir(workspace) / f"{task_id}.due"

    @contextmanager
    def within(self, seconds: float, reason: str) -> Iterator[None]:
        """Say that what is done in the block is to be over in so many seconds, and why."""
        due = Due(at=time.time() + seconds, reason=reason, pid=os.getpid())
        # On a full disk the run is still kept within its limits by itself.
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".due-new")
            fresh.write_text(due.model_dump_json())
            fresh.replace(self._path)
        try:
            yield
        finally:
            self.clear()

    def read(self) -> Due | None:
        """What the process is held to now, None where nothing is."""
        try:
            return Due.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None

    def clear(self) -> None:
        """Forget it: that work is over, or its process is gone."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
