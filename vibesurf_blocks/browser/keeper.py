"""Keeps one session's Chromium: starts it, ends it when idle, and never lets it outlive itself.

A program of its own that imports the standard library alone, so that it starts in some ten
milliseconds and stays small: `python -I -S keeper.py FOLDER IDLE START DIGEST COMMAND…`. It is in
no process group of the run that started it, so that the end of a run, however hard, leaves the
page as it is.

In FOLDER it keeps

* `keeper.lock`, locked for as long as it lives: there is one keeper of a session at the most;
* `users.lock`, on which each run that uses the browser holds a shared lock: while nobody does for
  IDLE seconds, the keeper takes it alone and ends, so that nobody attaches to a browser that goes;
* `keeper.json`: where the browser is found, once it can be attached to;
* `profile`, Chromium's own folder, and `chromium.log`, what it last complained of.

It ends at once on SIGTERM, when Chromium ends, and when FOLDER is taken away. Chromium ends with
it, by order of the kernel where it was killed (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_LOOK_SECONDS = 0.5
_START_LOOK_SECONDS = 0.01
_PROBE_SECONDS = 0.5
_END_SECONDS = 3.0
_REAP_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class _Ended(Exception):
    """The keeper is to end."""


def main(arguments: list[str]) -> int:
    """Keep a Chromium until it is not needed any more; 0 where it could be started."""
    folder, idle, start, digest, *command = arguments
    return _keep(Path(folder), float(idle), float(start), digest, command)


def _keep(folder: Path, idle: float, start: float, digest: str, command: list[str]) -> int:
    lock = _open(folder / "keeper.lock")
    until = time.monotonic() + _PROBE_SECONDS
    while not _locked(lock, fcntl.LOCK_EX):
        # Whoever asks whether there is a keeper holds it for a moment.
        if time.monotonic() > until:
            return 0  # another keeper was quicker
        time.sleep(_START_LOOK_SECONDS)
    users = _open(folder / "users.lock")
    if _libc is not None:
        # What Chromium starts and leaves becomes a child of this process, and is seen to here.
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    state = folder / "keeper.json"
    _sweep(folder, state)
    temporary = tempfile.mkdtemp(prefix="vibesurf-browser-")
    browser: subprocess.Popen[bytes] | None = None
    try:
        _write(state, {"pid": os.getpid(), "temporary": temporary})
        browser = _start(folder, temporary, command)
        address = _address(folder, browser, start)
        _write(
            state,
            {
                "pid": os.getpid(),
                "temporary": temporary,
                "browser_pid": browser.pid,
                "address": address,
                "digest": digest,
            },
        )
        _watch(browser, users, folder / "users.lock", idle)
    except _Ended:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if browser is not None:
            _stop(browser)
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            state.unlink()
    return 0


def _end(*_: object) -> None:
    raise _Ended


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(state: Path, content: dict[str, object]) -> None:
    """Replace the state, whole."""
    fresh = state.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(state)


def _sweep(folder: Path, state: Path) -> None:
    """Remove what a killed keeper left; as the only keeper there is none whose it could be."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        left = json.loads(state.read_text())["temporary"]
        if Path(left).name.startswith("vibesurf-browser-"):
            shutil.rmtree(left, ignore_errors=True)
    # A lock of Chromium's names the host: in a new container it would be taken for another's.
    for name in ("DevToolsActivePort", "SingletonLock", "SingletonCookie", "SingletonSocket"):
        with contextlib.suppress(OSError):
            (folder / "profile" / name).unlink()


def _start(folder: Path, temporary: str, command: list[str]) -> subprocess.Popen[bytes]:
    keeper = os.getpid()

    def die_with_keeper() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)

    with (folder / "chromium.log").open("wb") as log:
        return subprocess.Popen(
            command,
            # Chromium and its libraries write beside the profile too: all of it stays in FOLDER.
            env={
                **os.environ,
                "TMPDIR": temporary,
                "XDG_CONFIG_HOME": str(folder / "config"),
                "XDG_CACHE_HOME": str(folder / "cache"),
            },
            cwd=temporary,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_keeper,  # noqa: PLW1509 - this process has one thread
        )


def _address(folder: Path, browser: subprocess.Popen[bytes], seconds: float) -> str:
    """Where Chromium listens, once it does.

    Raises:
        _Ended: It ended, or was not ready in time.
    """
    file = folder / "profile" / "DevToolsActivePort"
    until = time.monotonic() + seconds
    while browser.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            lines = file.read_text().splitlines()
            if len(lines) >= 2 and lines[1]:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(_START_LOOK_SECONDS)
    raise _Ended


def _watch(browser: subprocess.Popen[bytes], users: int, path: Path, idle: float) -> None:
    """Return once the browser is not needed any more, with `users` locked where it was idle."""
    used = time.monotonic()
    while True:
        try:
            browser.wait(_LOOK_SECONDS)
            return
        except subprocess.TimeoutExpired:
            _reap()
        try:
            there = path.stat().st_ino == os.fstat(users).st_ino
        except OSError:
            there = False
        if not there:
            return
        if not _locked(users, fcntl.LOCK_EX):
            used = time.monotonic()
        elif time.monotonic() - used >= idle:
            return
        else:
            fcntl.flock(users, fcntl.LOCK_UN)


def _stop(browser: subprocess.Popen[bytes]) -> None:
    """End Chromium in order, so that it keeps its cookies, or by force; with all its processes."""
    with contextlib.suppress(ProcessLookupError):
        browser.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        browser.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(browser.pid, signal.SIGKILL)
    browser.wait()
    until = time.monotonic() + _REAP_SECONDS
    while _reap() and time.monotonic() < until:
        time.sleep(_START_LOOK_SECONDS)


def _reap() -> bool:
    """Bury the children that have ended; whether others live."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
