"""Becomes a program that dies with whoever started it: `python -I -S tether.py PROGRAM ARGUMENT…`.

The program is the same process, so signals and pipes reach it as if it had been started itself.
Only Linux can do this; elsewhere the program is started as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> None:
    """Replace this process by the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == 1:
            sys.exit(1)  # whoever started it has ended already
    try:
        os.execvp(command[0], command)  # noqa: S606 - the configuration names the program
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
