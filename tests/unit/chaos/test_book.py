"""Agents that work at once are seen by their own book, whatever becomes of their processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.driver.book import Page, read
from tests.chaos.driver.invariants import double_slots

WORKS = """
import signal, sys
from tests.chaos.driver.book import Page
Page(sys.argv[1], "other").begin()
print("begun", flush=True)
signal.pause()
"""


def other(folder: Path) -> subprocess.Popen[str]:
    """An agent of another process, at work."""
    command = [sys.executable, "-c", WORKS, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_one_after_the_other_is_no_violation(tmp_path: Path) -> None:
    for task in ("a", "b"):
        page = Page(str(tmp_path), task)
        page.begin()
        page.step()
        page.end()
    assert [one.what for one in read(tmp_path)] == ["begin", "step", "end"] * 2
    assert not list(double_slots(read(tmp_path)))


def test_two_at_once_are_one_violation(tmp_path: Path) -> None:
    process = other(tmp_path)
    try:
        page = Page(str(tmp_path), "mine")
        page.begin()
        page.step()
    finally:
        process.kill()
        process.wait()
    found = list(double_slots(read(tmp_path)))
    assert len(found) == 1
    assert f"other.{process.pid}" in found[0].what


def test_who_was_killed_works_no_more_and_who_was_frozen_does(tmp_path: Path) -> None:
    process = other(tmp_path)
    page = Page(str(tmp_path), "mine")
    try:
        os.kill(process.pid, signal.SIGSTOP)
        page.begin()
    finally:
        process.kill()
        process.wait()
    page.step()
    beside = [entry.beside for entry in read(tmp_path) if entry.task == "mine"]
    assert beside == [(f"other.{process.pid}",), ()]
