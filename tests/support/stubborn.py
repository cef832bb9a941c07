"""A flow that hears nothing: it sleeps in C, holding the interpreter's lock, beside a child."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from prefect import flow


@flow(name="stubborn")
def stubborn(note: str, seconds: int = 60) -> None:
    """Write the process ids of a child and its child into a file, then block."""
    script = f"sleep {seconds} & echo $$ $! >> {note}.new; mv {note}.new {note}; trap '' TERM; wait"
    subprocess.Popen(["sh", "-c", script])
    while not Path(note).exists():
        pass
    ctypes.PyDLL(None).sleep(seconds)
