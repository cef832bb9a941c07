"""The last guard of a slot: a lock that goes with its process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from vibesurf_blocks.run.slot_lock import slot_lock

HOLDER = """
import asyncio, sys
from pathlib import Path
from vibesurf_blocks.run.slot_lock import slot_lock

async def hold():
    async with slot_lock(Path(sys.argv[1]), sys.argv[2], 1, waiting=print):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


class Waiting:
    """Takes a slot in a task of its own, and tells what it waits for."""

    def __init__(self, workspace: Path, session: str, slots: int = 1) -> None:
        self.told: list[str] = []
        self.waits = asyncio.Event()
        self.holds = asyncio.Event()
        self.leave = asyncio.Event()
        self.slot: int | None = None
        self._task = asyncio.create_task(self._hold(workspace, session, slots))

    async def _hold(self, workspace: Path, session: str, slots: int) -> None:
        async with slot_lock(workspace, session, slots, waiting=self._tell) as self.slot:
            self.holds.set()
            await self.leave.wait()

    def _tell(self, why: str) -> None:
        self.told.append(why)
        self.waits.set()

    async def end(self) -> None:
        self.leave.set()
        await self._task


async def test_a_second_agent_waits_until_the_first_has_left(tmp_path: Path) -> None:
    first = Waiting(tmp_path, "one")
    await first.holds.wait()
    second = Waiting(tmp_path, "two")
    await second.waits.wait()
    assert not second.holds.is_set()
    await first.end()
    await second.holds.wait()
    assert second.told == ["every slot of the workspace is taken"]
    await second.end()


async def test_as_many_hold_one_as_there_are_slots(tmp_path: Path) -> None:
    first, second = Waiting(tmp_path, "one", 2), Waiting(tmp_path, "two", 2)
    await first.holds.wait()
    await second.holds.wait()
    assert {first.slot, second.slot} == {0, 1}
    third = Waiting(tmp_path, "three", 2)
    await third.waits.wait()
    for holder in (first, second, third):
        await holder.end()


async def test_two_agents_never_work_in_one_session(tmp_path: Path) -> None:
    """Whoever waits for the session holds no slot meanwhile."""
    first, second = Waiting(tmp_path, "same", 2), Waiting(tmp_path, "same", 2)
    await first.holds.wait()
    await second.waits.wait()
    other = Waiting(tmp_path, "other", 2)
    await other.holds.wait()
    assert second.told == ["session 'same' is in use"]
    await first.end()
    await second.holds.wait()
    await second.end()
    await other.end()


@pytest.mark.parametrize("session", ["s" * 255, "a.b-c_d"])
async def test_every_session_id_can_be_locked(tmp_path: Path, session: str) -> None:
    async with slot_lock(tmp_path, session, 1, waiting=print) as slot:
        assert slot == 0


async def test_a_killed_process_leaves_its_slot_free(tmp_path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(tmp_path), "one", stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    waiting = Waiting(tmp_path, "one")
    await waiting.waits.wait()
    holder.kill()
    await holder.wait()
    await asyncio.wait_for(waiting.holds.wait(), 10)
    await waiting.end()
