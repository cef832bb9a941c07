"""Runs a program that ends with whoever started it, and with it all that it started in turn.

    python -I -S tether.py PARENT PROGRAM ARGUMENT…

PARENT is the process id of whoever starts it. The program has the pipes to itself; its exit code is
passed on, and a signal that asks to end. What it leaves behind when it ends, is ended too. Only
Linux can do this; elsewhere the program is started as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_PARENT_DIED: Final = signal.SIGUSR1
_ASKED_TO_END: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_GRACE_SECONDS: Final = 1.0
"""Seconds that all have to end by themselves once they are asked to."""

_LOOKS: Final = 200
_LOOK_SECONDS: Final = 0.01


def main(parent: int, command: list[str]) -> None:
    """Run the program to its end, or become it where nothing else can be done."""
    if sys.platform == "linux":
        _keep(parent, command)
    _become(command)


def _become(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)  # noqa: S606 - the configuration names the program
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(1)


def _keep(parent: int, command: list[str]) -> None:
    prctl = ctypes.CDLL(None).prctl
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    handled = {_PARENT_DIED, signal.SIGALRM, *_ASKED_TO_END}
    # Whatever comes before the program is there waits until it is.
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, _PARENT_DIED, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # whoever started it has ended already
    for number in (_PARENT_DIED, signal.SIGALRM):
        signal.signal(number, _end_now)
    for number in _ASKED_TO_END:
        signal.signal(number, _ask_to_end)
    own = os.getpid()
    program = os.fork()
    if program == 0:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != own:
            os._exit(1)
        for number in (*handled, signal.SIGPIPE):  # the last one Python ignores
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        _become(command)
    # The pipes are the program's alone: their other end sees when it closes them.
    nothing = os.open(os.devnull, os.O_RDWR)
    for pipe in (0, 1):
        os.dup2(nothing, pipe)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
    status = 0
    ended = 0
    while ended != program:  # others are orphans that the program has left
        ended, status = os.wait()
    _kill_all()
    if os.WIFSIGNALED(status):
        fatal = os.WTERMSIG(status)
        with suppress(OSError, ValueError):
            signal.signal(fatal, signal.SIG_DFL)
        os.kill(own, fatal)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _ask_to_end(number: int, _: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, _GRACE_SECONDS)
    for pid in _descendants():
        with suppress(OSError):
            os.kill(pid, number)


def _end_now(_: int, __: FrameType | None) -> None:
    _kill_all()
    with suppress(OSError):
        os.killpg(0, signal.SIGKILL)  # this process too


def _kill_all() -> None:
    """Kill all that the program has started, also what has left its group."""
    for _ in range(_LOOKS):
        found = list(_descendants())
        if not found:
            return
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def _descendants() -> Iterator[int]:
    """Those that live of all below this process; orphans among them are its own children."""
    children: dict[int, list[tuple[int, bool]]] = {}
    with suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with suppress(OSError), open(f"{entry.path}/stat", "rb") as file:  # noqa: PTH123
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
                    pid, lives = int(entry.name), state not in b"ZX"
                    children.setdefault(int(parent), []).append((pid, lives))
    below = [os.getpid()]
    while below:
        for pid, lives in children.get(below.pop(), []):
            below.append(pid)
            if lives:
                yield pid


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
