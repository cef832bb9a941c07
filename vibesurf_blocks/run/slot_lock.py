"""The last guard of a slot: operating-system locks on the workspace, gone with their process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_FOLDER = ".locks"
_LOOK_AGAIN_SECONDS = 0.05


@asynccontextmanager
async def slot_lock(
    workspace: Path, session_id: str, slots: int, *, waiting: Callable[[str], None]
) -> AsyncIterator[int]:
    """Hold one of the workspace's slots, and the session's folder, for as long as the block runs.

    However an agent was started, it cannot work beside more agents than there are slots, nor in the
    same session as another one. Waits for as long as it takes.

    Args:
        workspace: Folder of the sessions.
        session_id: The session to work in.
        slots: Agents that may work in this workspace at once.
        waiting: Told once what is waited for, where it has to wait.

    Yields:
        The number of the slot, from 0.
    """
    folder = workspace / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # The session first: an agent that waits for its session must not hold a slot meanwhile.
    session = _session_file(workspace, session_id)
    numbered = [folder / f"slot-{number}.lock" for number in range(slots)]
    async with (
        _lock_one_of([session], lambda: waiting(f"session {session_id!r} is in use")),
        _lock_one_of(numbered, lambda: waiting("every slot of the workspace is taken")) as slot,
    ):
        yield slot


@contextmanager
def idle_session(workspace: Path, session_id: str) -> Iterator[bool]:
    """Keep agents out of a session's folder for a moment; whether none was in it."""
    path = _session_file(workspace, session_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _session_file(workspace: Path, session_id: str) -> Path:
    digest = hashlib.sha256(session_id.encode()).hexdigest()[:32]  # ids may fill a file name
    return workspace / _FOLDER / f"session-{digest}.lock"


def _locked(path: Path) -> int | None:
    """Lock a file and return its descriptor, None where somebody else has it locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@asynccontextmanager
async def _lock_one_of(paths: Sequence[Path], wait: Callable[[], None]) -> AsyncIterator[int]:
    told = False
    while True:
        for number, path in enumerate(paths):
            descriptor = _locked(path)
            if descriptor is None:
                continue
            try:
                yield number
            finally:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            return
        if not told:
            told = True
            wait()
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
