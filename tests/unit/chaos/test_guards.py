"""Without a guard what it guards against happens, and the evidence of a chaos run shows it.

Each case runs in processes of its own, changed as those of a stack under chaos are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.chaos.driver import book, hooks
from tests.chaos.driver.invariants import Facts, double_slots, terminal_left
from tests.chaos.driver.rows import Rows
from tests.support.stack import ROOT, clean_env

INSIDE = ROOT / "tests" / "chaos" / "driver" / "inside"

TWO_AGENTS = """
import asyncio, sys
from pathlib import Path
from tests.chaos.driver.book import Page
from vibesurf_blocks.run.slot_lock import slot_lock

async def work(task):
    async with slot_lock(Path(sys.argv[1]), task, 1, waiting=lambda _: None):
        page = Page(sys.argv[2], task)
        page.begin()
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        page.end()

asyncio.run(work(sys.argv[3]))
"""

OLDER_LAST = """
import asyncio, sys
from pathlib import Path
from tests.chaos.driver.rows import Rows
from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskStore
from vibesurf_blocks.tables.upgrade import upgrade
from vibesurf_blocks.tasks import Status

async def write():
    url = f"sqlite:///{sys.argv[1]}/vibesurf.db"
    await upgrade(url)
    Rows(Path(sys.argv[1])).watch()
    database = Database(url)
    store = TaskStore(database)
    await store.upsert([task("t", Status.COMPLETED, 2)])
    await store.upsert([task("t", Status.RUNNING, 1)])
    await database.aclose()

asyncio.run(write())
"""

KEYLESS_AND_BLIND = """
import asyncio
from datetime import UTC, datetime
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api.submissions import Submitter
from vibesurf_blocks.tasks import Priority

class Client:
    async def create_flow_run_from_deployment(self, deployment, **given):
        print(given["idempotency_key"])

async def ask():
    submitter = Submitter(Client(), "pool")
    submitter._deployment = "d"
    await submitter._create(
        {}, name="n", tags=[], labels={}, once="a key", priority=Priority.NORMAL
    )
    # Nothing is there to read from: what reads fails.
    print(await Sync.reconcile(None, datetime.now(UTC)))

asyncio.run(ask())
"""


def env(book_folder: Path, without: str) -> dict[str, str]:
    """The environment of a process of a stack under chaos."""
    path = os.pathsep.join([str(INSIDE), str(ROOT)])
    return clean_env(PYTHONPATH=path, **{hooks.BOOK: str(book_folder), hooks.WITHOUT: without})


def said(program: str, folder: Path, without: str, *arguments: str) -> str:
    """What a program prints, with a guard removed or with all of them."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command, env=env(folder, without), capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_agents_in_one_slot(tmp_path: Path) -> None:
    pages = tmp_path / "book"
    pages.mkdir()
    agents = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_AGENTS, str(tmp_path / "workspace"), str(pages), name],
            env=env(pages, "slot-lock"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]
    try:
        for agent in agents:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"begun\n"
    finally:
        for agent in agents:
            agent.communicate(b"\n", timeout=100)
    assert [one.what for one in book.read(pages)].count("end") == 2
    assert len(list(double_slots(book.read(pages)))) == 1


async def test_an_older_state_after_the_end(tmp_path: Path) -> None:
    said(OLDER_LAST, tmp_path, "terminal-rule", str(tmp_path))
    nobody: Any = None  # no run is known, so nobody is asked for its states
    found = await terminal_left(Rows(tmp_path).changes(), nobody, Facts({}, {}))
    assert [one.invariant for one in found] == [5]


def test_submits_without_a_key_and_a_mirror_that_does_not_reconcile(tmp_path: Path) -> None:
    told = said(KEYLESS_AND_BLIND, tmp_path, "chain-key,reconciler")
    assert told.split() == ["None", "0"]
