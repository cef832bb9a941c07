"""Attaches to the browser of a session, starting it where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from vibesurf_blocks.browser.launch import Launch
from vibesurf_blocks.errors import EngineError

FOLDER: Final = ".browser"
"""What a session's folder keeps of its browser; no upload or report has such a name."""

_KEEPER: Final = Path(__file__).with_name("keeper.py")
_LOOK_SECONDS = 0.02
_LOG_LINES = 5
# What Chromium needs of the environment. Keys and passwords of the worker are none of its business.
_PASSED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "DISPLAY",
    "XAUTHORITY",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_DIRS",
    "DBUS_SESSION_BUS_ADDRESS",
    "LD_LIBRARY_PATH",
    "SSLKEYLOGFILE",
)
_PASSED_PREFIXES = ("LC_", "FONTCONFIG_", "CHROME_", "CHROMIUM_")


@dataclass(frozen=True, slots=True)
class Attached:
    """A running browser, kept for as long as one is attached to it.

    Attributes:
        address: Web socket address of its DevTools; of no other browser, ever.
        pid: Chromium's process.
        keeper: Its keeper's process.
    """

    address: str
    pid: int
    keeper: int


@asynccontextmanager
async def session_browser(
    session_dir: Path,
    launch: Launch,
    *,
    idle_seconds: float,
    start_seconds: float,
    known: str | None = None,
) -> AsyncIterator[Attached]:
    """Attach to the browser of a session for as long as the block runs.

    The browser found is the one that runs, where it was started as asked for or where it is the one
    known; else a new one is started.

    Args:
        session_dir: The session's folder.
        launch: How to start one.
        idle_seconds: Seconds without a run that uses it after which a new browser ends.
        start_seconds: Seconds a start may take.
        known: Address of the browser that an earlier process of this run used.

    Raises:
        EngineError: Chromium does not start.
    """
    folder = session_dir / FOLDER
    (folder / "profile").mkdir(parents=True, exist_ok=True, mode=0o700)
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + start_seconds
        # A keeper that ends holds it alone until it has ended.
        while not _locked(users, fcntl.LOCK_SH):
            await _pause(until, folder)
        found = _found(folder)
        if found is not None and found[1] != launch.digest and found[0].address != known:
            # Somebody changed how it is to be started.
            await asyncio.to_thread(end_browsers, [folder])
            found = None
        if found is None:
            found = await _start(folder, launch, idle_seconds, start_seconds)
        yield found[0]
    finally:
        os.close(users)


async def _start(
    folder: Path, launch: Launch, idle_seconds: float, start_seconds: float
) -> tuple[Attached, str]:
    with contextlib.suppress(OSError):
        (folder / "chromium.log").unlink()
    keeper = subprocess.Popen(  # noqa: ASYNC220 - returns after the fork
        [
            sys.executable,
            "-I",
            "-S",
            str(_KEEPER),
            str(folder),
            f"{idle_seconds:g}",
            f"{start_seconds:g}",
            launch.digest,
            *launch.command(folder / "profile"),
        ],
        env=_environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # No signal to a run, or to what watches it, reaches the browser.
        start_new_session=True,
    )
    until = time.monotonic() + start_seconds
    while (found := _found(folder)) is None:
        if keeper.poll() is not None and not _alive(folder):
            raise EngineError(_complaint(folder, launch.executable))
        await _pause(until, folder)
    return found


async def _pause(until: float, folder: Path) -> None:
    if time.monotonic() > until:
        msg = (
            "The session's browser was not ready in time (VIBESURF_BROWSER_START_SECONDS). What "
            f"it complained of is in {folder / 'chromium.log'}."
        )
        raise EngineError(msg)
    await asyncio.sleep(_LOOK_SECONDS)


def _complaint(folder: Path, executable: str) -> str:
    try:
        log = (folder / "chromium.log").read_text(errors="replace")
    except OSError:
        log = ""
    # The bus of a desktop is missed in every container, and never the reason.
    lines = [line for line in log.splitlines() if line.strip() and "dbus" not in line]
    said = " / ".join(lines[-_LOG_LINES:]) or "it said nothing"
    return f"The browser {executable} did not start: {said}"


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(folder: Path) -> bool:
    """Whether the folder has a keeper: it holds its lock for as long as it lives."""
    try:
        lock = os.open(folder / "keeper.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _found(folder: Path) -> tuple[Attached, str] | None:
    """The running browser and what it was started with, None where there is none to attach to."""
    try:
        state = json.loads((folder / "keeper.json").read_text())
        attached = Attached(state["address"], state["browser_pid"], state["pid"])
        digest = str(state["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # One that was killed leaves its state; a new one may hold the lock and have none yet.
    if not _alive(folder) or _keeper(folder) != attached.keeper or not lives(attached.pid):
        return None
    return attached, digest


def lives(pid: int) -> bool:
    """Whether a process runs, and has not only not been buried."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_keeper(command: list[str]) -> bool:
    """Whether a process with this command line keeps a browser."""
    return str(_KEEPER) in command


def browser_folders(workspace: Path) -> list[Path]:
    """The folders in which sessions of a workspace keep a browser, or have kept one."""
    return [path.parent for path in workspace.glob(f"*/{FOLDER}/keeper.json")]


@dataclass(frozen=True, slots=True)
class Kept:
    """A browser that a keeper keeps for a session.

    Attributes:
        session: The session's id.
        folder: Where it is kept.
        pid: The keeper's process.
        used: Whether a run uses it now.
    """

    session: str
    folder: Path
    pid: int
    used: bool


def keepers(workspace: Path) -> list[Kept]:
    """The living keepers of a workspace."""
    found = []
    for folder in browser_folders(workspace):
        pid = _keeper(folder) if _alive(folder) else None
        if pid is not None:
            found.append(Kept(folder.parent.name, folder, pid, _used(folder)))
    return found


def _used(folder: Path) -> bool:
    try:
        users = os.open(folder / "users.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # For the moment that it is held here, the keeper takes its browser for used.
        return not _locked(users, fcntl.LOCK_EX)
    finally:
        os.close(users)


def end_browsers(folders: Iterable[Path], *, seconds: float = 5.0) -> None:
    """End the browsers kept in these folders, whoever uses them; blocks until they have ended."""
    living = [folder for folder in folders if _alive(folder)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for folder in living:
            if (pid := _keeper(folder)) is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        until = time.monotonic() + seconds
        while living and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            living = [folder for folder in living if _alive(folder)]


def _keeper(folder: Path) -> int | None:
    """The process that keeps a folder's browser, as far as it can be told."""
    try:
        pid = int(json.loads((folder / "keeper.json").read_text())["pid"])
        # The number may be another process's by now.
        return pid if str(folder) in psutil.Process(pid).cmdline() else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
