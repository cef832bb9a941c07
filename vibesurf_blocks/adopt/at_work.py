"""Whether a VibeSurf may be at work on its database, on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def at_work(database: Path) -> bool | None:
    """Whether a process of this machine, other than this one, has the database open.

    A VibeSurf that runs keeps it open.

    Returns:
        None where none is seen that has, and this user may not look into every process, such as
        those of another user: a person has to know. Another host's, or another container's, are
        not seen at all.
    """
    unseen = False
    files = {os.path.realpath(f"{database}{ending}") for ending in ("", "-wal", "-shm")}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if any(os.path.realpath(file.path) in files for file in process.open_files()):
                return True
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue  # it has ended meanwhile
        except (psutil.Error, OSError):
            unseen = True
    return None if unseen else False
