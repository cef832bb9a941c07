"""Collect garbage in a thread of its own, so that an event loop never waits for SQLite in it.

A `sqlite3.Cursor` that is part of a cycle is cleared by the garbage collector, in whichever thread
allocates the object that makes it run, and clearing waits for the mutex of the cursor's connection.
Where that connection is waiting for another one's transaction and the thread is that of the event
loop which is to commit it, the process stands still until SQLite's busy timeout has passed: sixty
seconds in a Prefect server. In a thread of its own the collector waits alone.
"""

from __future__ import annotations

import gc
import threading
from typing import Final

NAME: Final = "garbage collector"
_PAUSE_SECONDS: Final = 0.1


def collect_beside() -> None:
    """Have the garbage of this process collected by a thread named `NAME`, and by no other."""
    gc.disable()
    threading.Thread(target=_collect, name=NAME, daemon=True).start()


def _collect() -> None:
    wake = threading.Event()
    while not wake.wait(_PAUSE_SECONDS):
        _collect_due()


def _collect_due() -> None:
    """Collect the oldest generation that is due, as the interpreter would, if any is."""
    due = [
        generation
        for generation, (count, threshold) in enumerate(
            zip(gc.get_count(), gc.get_threshold(), strict=True)
        )
        if count > threshold > 0
    ]
    if due:
        gc.collect(due[-1])
