"""Garbage is collected beside the event loop, which therefore never waits for SQLite in it."""

from __future__ import annotations

import gc
import multiprocessing
import sqlite3
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from vibesurf_blocks.stack.collector import collect_beside

T = TypeVar("T")

_BUSY_SECONDS = 20.0


class _Cycle:
    def __init__(self, held: object) -> None:
        self.held = held
        self.me = self


def _alone(call: Callable[[Path], T], folder: Path) -> T:
    """The result of a call in a process of its own: what is set there is set for good."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(call, folder).result()


def _locked_out(folder: Path) -> str:
    """Have one thread wait for the transaction of another, which drops a cursor of the waiting."""
    collect_beside()
    path = folder / "file.db"
    committing = sqlite3.connect(path, isolation_level=None)
    waiting = sqlite3.connect(
        path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
    )
    _Cycle(waiting.execute("SELECT 1"))
    committing.execute("BEGIN IMMEDIATE")
    began = threading.Event()
    waiting.set_trace_callback(lambda _: began.set())
    said: list[str] = []

    def wait() -> None:
        try:
            waiting.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            said.append(str(error))
        else:
            said.append("has the lock")

    thread = threading.Thread(target=wait)
    thread.start()
    assert began.wait(_BUSY_SECONDS)
    kept: list[list[int]] = [[] for _ in range(10 * gc.get_threshold()[0])]
    committing.execute("COMMIT")
    thread.join()
    assert kept
    return said[0]


def _collected(_folder: Path) -> bool:
    collect_beside()
    one = _Cycle(None)
    gone = threading.Event()
    weakref.finalize(one, gone.set)
    del one
    kept: list[list[int]] = [[] for _ in range(10 * gc.get_threshold()[0])]
    return gone.wait(30) and bool(kept)


def test_who_commits_never_waits_for_who_waits_for_it(tmp_path: Path) -> None:
    assert _alone(_locked_out, tmp_path) == "has the lock"


def test_garbage_is_collected(tmp_path: Path) -> None:
    assert _alone(_collected, tmp_path)
