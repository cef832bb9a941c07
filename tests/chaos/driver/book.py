"""The book of agents: who works is told by a lock, which ends with its process, however that ends.

It shares nothing with the product's own locks: another folder, another file for each process.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOG = "log.jsonl"
_SUFFIX = ".agent"


class Page:
    """One agent's page, written by its own process."""

    def __init__(self, folder: str, task_id: str) -> None:
        self._folder = Path(folder)
        self._task_id = task_id
        self._file = self._folder / f"{task_id}.{os.getpid()}{_SUFFIX}"
        self._held: int | None = None

    def begin(self) -> None:
        """Say that this agent works from now on."""
        self._held = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        # After its own lock is taken: of two that begin at once, at least one sees the other.
        self._write("begin")

    def step(self) -> None:
        """Say that it begins a step."""
        self._write("step")

    def end(self) -> None:
        """Say that it has ended, where it had begun."""
        if self._held is not None:
            self._write("end")
            os.close(self._held)
            self._held = None

    def _write(self, what: str) -> None:
        line = json.dumps(
            {
                "at": time.time(),
                "pid": os.getpid(),
                "task": self._task_id,
                "what": what,
                "beside": list(self._beside()),
            }
        )
        log = os.open(self._folder / _LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(log, f"{line}\n".encode())
        finally:
            os.close(log)

    def _beside(self) -> Iterator[str]:
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path == self._file:
                continue
            other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Shared, so that two who look at once do not take each other for the owner.
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path.name.removesuffix(_SUFFIX)
            finally:
                os.close(other)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the book.

    Attributes:
        at: Seconds since the epoch.
        beside: `task.pid` of each other agent that was at work then.
    """

    at: float
    pid: int
    task: str
    what: str
    beside: tuple[str, ...]


def read(folder: Path) -> list[Entry]:
    """All that agents have written."""
    log = folder / _LOG
    lines = log.read_text().splitlines() if log.exists() else []
    return [Entry(**{**one, "beside": tuple(one["beside"])}) for one in map(json.loads, lines)]
