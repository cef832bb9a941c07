"""The processes of this home on this machine, as far as the operating system shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

_NAME_LENGTH: Final = 15
"""Characters that the kernel keeps of a process' name."""

RESUME: Final = "kill -CONT {pid}"


def parts(home: Path, name: str) -> list[psutil.Process]:
    """The living processes that this home's fork server gave a name: `mirror`, `worker`, `run`."""
    wanted = f"vibesurf:{name}"[:_NAME_LENGTH]
    return [one for one in _ours(home) if _name(one) == wanted]


def part(home: Path, name: str, pid: int) -> psutil.Process | None:
    """The one of them with this process id, None where it is none of them."""
    return next((one for one in parts(home, name) if one.pid == pid), None)


def is_stopped(process: psutil.Process) -> bool:
    """Whether somebody stopped a process: SIGSTOP, Ctrl-Z, or a debugger."""
    try:
        return bool(process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
    except psutil.Error:
        return False


def _ours(home: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or not _name(process).startswith(
                "vibesurf:"
            ):
                continue
            if process.environ().get("VIBESURF_HOME") == str(home):
                yield process
        except psutil.Error:  # it ended meanwhile, or is somebody else's
            continue


def _name(process: psutil.Process) -> str:
    try:
        return process.name() if sys.platform == "linux" else ""
    except psutil.Error:
        return ""
