"""Removes reports and empty folders of the workspace, and nothing that a link leads to.

Folders are opened one inside the other, none through a link, and what is removed is named within
the open folder: whoever exchanges a folder for a link meanwhile changes nothing.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.run.slot_lock import idle_session
from vibesurf_blocks.tasks import SESSION_PATTERN
from vibesurf_blocks.workspace import reports_dir

_FOLDERS = ("reports", "uploads", "downloads")
_REPORT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.html")
_NO_REPORT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR}


def remove_reports(workspace: Path, reports: Sequence[tuple[str, str]]) -> int:
    """Remove reports, each named by session and file; returns how many were on this machine.

    What is no name of a report is passed over: it lies nowhere.

    Raises:
        StackError: One may not be removed.
    """
    return sum(
        _remove_report(workspace, session_id, name)
        for session_id, name in reports
        if re.fullmatch(SESSION_PATTERN, session_id) and _REPORT.fullmatch(name)
    )


def _remove_report(workspace: Path, session_id: str, name: str) -> bool:
    try:
        with _opened(workspace, session_id, "reports") as folder:
            os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_REPORT:
            return False
        path = reports_dir(workspace, session_id) / name
        msg = (
            f"The report {path} cannot be removed: {error.strerror}. Prune as a user who may, or "
            "with --no-reports."
        )
        raise StackError(msg) from error
    return True


def empty_sessions(workspace: Path, before: datetime) -> list[str]:
    """The sessions whose folder holds nothing but empty folders, unchanged since a moment."""
    found = []
    with suppress(FileNotFoundError), os.scandir(workspace) as entries:
        found = [
            one.name
            for one in entries
            if re.fullmatch(SESSION_PATTERN, one.name) and _is_empty(workspace, one.name, before)
        ]
    return sorted(found)


def remove_empty_session(workspace: Path, session_id: str) -> bool:
    """Remove a session's folder, unless an agent works there or it holds a file; whether it did."""
    with idle_session(workspace, session_id) as idle:
        if not idle:
            return False
        try:
            with _opened(workspace, session_id) as folder:
                for name in _FOLDERS:
                    with suppress(FileNotFoundError):
                        os.rmdir(name, dir_fd=folder)
            with _opened(workspace) as root:
                os.rmdir(session_id, dir_fd=root)
        except OSError:  # not empty any more, or not a folder
            return False
    return True


def _is_empty(workspace: Path, session_id: str, before: datetime) -> bool:
    try:
        with _opened(workspace, session_id) as folder:
            names = _names(folder)
            # The reports' own folder has changed just now, where one was removed from it.
            if os.fstat(folder).st_mtime >= before.timestamp() or not set(names) <= {*_FOLDERS}:
                return False
        for name in names:
            with _opened(workspace, session_id, name) as inner:
                if _names(inner):
                    return False
                changed = os.fstat(inner).st_mtime
                if name != "reports" and changed >= before.timestamp():
                    return False
    except OSError:
        return False
    return True


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [one.name for one in entries]


@contextmanager
def _opened(workspace: Path, *names: str) -> Iterator[int]:
    """Open a folder in the workspace, none of whose names may be a link."""
    folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            inner = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
            )
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)
