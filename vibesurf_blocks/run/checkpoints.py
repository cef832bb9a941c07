"""Keeps what a run needs to go on where it was, after each step and each heeded command."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from vibesurf_blocks.engines.protocol import Checkpoint, Usage
from vibesurf_blocks.prefect_api.step_journal import StepNote
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables.records import ControlEntry
from vibesurf_blocks.workspace import checkpoints_dir, files_folder

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Kept(BaseModel):
    """A run between two steps.

    Attributes:
        step: Steps finished.
        done: Whether the last of them finished the task.
        resting: Whether the run is paused.
        seconds: Seconds it has worked, pauses apart.
        heeded: Ids of the commands that were heeded.
        history: What was asked of it and what came of that.
        usage: What it has used of its model.
        untold: Finished steps that may not be in the journal yet.
        checkpoint: The engine's state.
    """

    model_config = ConfigDict(frozen=True)

    step: int
    done: bool = False
    resting: bool = False
    seconds: float = 0.0
    heeded: tuple[str, ...] = ()
    history: tuple[ControlEntry, ...] = ()
    usage: Usage = Usage()
    untold: tuple[StepNote, ...] = ()
    checkpoint: Checkpoint


class CheckpointFile:
    """What is kept of one task, one file in the workspace.

    Session ids do not start with a dot, so no session can reach it.
    """

    def __init__(self, workspace: Path, task_id: str) -> None:
        self._path = checkpoints_dir(workspace) / f"{task_id}.json"
        self._lock = self._path.with_suffix(".lock")
        self._files = files_folder(workspace, task_id)

    def load(self) -> Kept | None:
        """What was kept last, None where nothing was or where it cannot be read."""
        try:
            return Kept.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None

    def save(self, kept: Kept) -> None:
        """Replace what was kept; whoever is killed meanwhile leaves the old or the new, whole.

        Raises:
            OSError: The file cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(kept.model_dump_json())
        fresh.replace(self._path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process sees to what is kept; what follows is done by one of them.

        Workers that share a workspace find the same abandoned run at the same moment.

        Raises:
            OSError: The lock cannot be made.
        """
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def discard(self) -> None:
        """Forget it, with the engine's files: the task has ended."""
        left = (".new", ".due", ".due-new")
        for path in (self._path, *map(self._path.with_suffix, left), self._lock):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._files, ignore_errors=True)


def unfinished(workspace: Path) -> list[UUID]:
    """Ids of the runs of which something is kept: those that were not seen to their end."""
    names = [path.stem for path in checkpoints_dir(workspace).glob("*.json")]
    return [UUID(name) for name in names if _ID.fullmatch(name)]


def forget(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Forget what was kept of a run; a hook for states after which it is not run again."""
    CheckpointFile(Settings.here().workspace_dir, str(flow_run.id)).discard()
