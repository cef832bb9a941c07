"""The folders that runs start in: in the workspace, one for each, gone with the run at the latest
when a worker starts after the one that made it was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vibesurf_blocks.workspace import starting_dirs

_PREFIX = "run-"
_DOOR = "door.lock"


@contextmanager
def starting_folder(workspace: Path) -> Iterator[Path]:
    """A new folder for as long as the block runs, or this process lives.

    Raises:
        OSError: It cannot be made.
    """
    parent = starting_dirs(workspace)
    parent.mkdir(parents=True, exist_ok=True)
    with _door(parent):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        held = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def sweep(workspace: Path) -> int:
    """Remove the folders whose process was killed; how many there were."""
    parent = starting_dirs(workspace)
    if not parent.is_dir():
        return 0
    # Behind the door no folder stands that is not locked yet.
    with _door(parent):
        left = [folder for folder in parent.glob(f"{_PREFIX}*") if _is_left(folder)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


@contextmanager
def _door(parent: Path) -> Iterator[None]:
    descriptor = os.open(parent / _DOOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Hold a folder's lock, which goes with this process; None where another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_left(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        held = _lock(folder)
        if held is not None:
            os.close(held)
            return True
    return False
