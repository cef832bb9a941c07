"""Whether a VibeSurf may be at work on its database, on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def at_work(database: Path) -> bool:
    """Whether a process of this machine, other than this one, has the database open.

    A VibeSurf that runs keeps it open. What this user may not look into is not seen, such as the
    processes of another user: then a person has to know.
    """
    files = {os.path.realpath(f"{database}{ending}") for ending in ("", "-wal", "-shm")}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if any(os.path.realpath(file.path) in files for file in process.open_files()):
                return True
        except (psutil.Error, OSError):
            continue
    return False
