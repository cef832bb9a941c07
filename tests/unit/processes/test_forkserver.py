"""Children of the fork server: how they start, how they end, and that none outlives its owner."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil

from tests.support.eventually import eventually
from vibesurf_blocks.processes.client import ForkServer

JOBS = "tests.unit.processes.jobs"


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def pids(path: Path) -> list[int]:
    """The process ids that a sleeping child wrote down."""

    def read() -> str:
        return path.read_text() if path.exists() else ""

    written = await eventually(lambda: asyncio.to_thread(read), timeout=20)
    return [int(one) for one in written.split()]


async def gone(found: list[int]) -> None:
    """Wait until none of the processes runs."""

    async def none() -> bool:
        return not any(alive(pid) for pid in found)

    await eventually(none, timeout=10)


async def test_a_child_ends_with_what_its_function_returns() -> None:
    async with ForkServer([JOBS]) as forks:
        child = await forks.spawn(f"{JOBS}:answer", {"code": 7})
        assert await child.wait() == 7
        assert child.returncode == 7
        failed = await forks.spawn(f"{JOBS}:fail")
        assert await failed.wait() == 1


async def test_a_child_gets_its_environment_and_folder(tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with ForkServer() as forks:
        child = await forks.spawn(
            f"{JOBS}:tell",
            {"path": str(told)},
            env={"WORD": "spoken", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            cwd=str(tmp_path),
        )
        await child.wait()
    assert told.read_text() == f"{tmp_path} spoken False"


async def test_a_signal_reaches_the_whole_group(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    async with ForkServer([JOBS]) as forks:
        child = await forks.spawn(f"{JOBS}:sleep_with_child", {"path": str(path)})
        both = await pids(path)
        child.signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        await gone(both)


async def test_what_a_child_leaves_running_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    async with ForkServer([JOBS]) as forks:
        child = await forks.spawn(f"{JOBS}:sleep_with_child", {"path": str(path)})
        leader, grandchild = await pids(path)
        os.kill(leader, signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        await gone([grandchild])


async def test_children_go_with_their_connection(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    async with ForkServer([JOBS]) as forks:
        await forks.spawn(f"{JOBS}:sleep_with_child", {"path": str(path)})
        both = await pids(path)
    await gone(both)


async def test_children_go_with_a_killed_fork_server_and_a_new_one_is_started(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pids"
    async with ForkServer([JOBS]) as forks:
        child = await forks.spawn(f"{JOBS}:sleep_with_child", {"path": str(path)})
        leader, _ = await pids(path)
        os.kill(psutil.Process(leader).ppid(), signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        await gone([leader])
        again = await forks.spawn(f"{JOBS}:answer", {"code": 3})
        assert await again.wait() == 3


async def test_a_hundred_children_leave_nothing_open() -> None:
    async with ForkServer([JOBS]) as forks:
        first = await forks.spawn(f"{JOBS}:answer", {"code": 0})
        await first.wait()
        [server] = [
            one for one in psutil.Process().children() if "forkserver" in " ".join(one.cmdline())
        ]
        before = server.num_fds()
        for _ in range(10):
            children = await asyncio.gather(
                *(forks.spawn(f"{JOBS}:answer", {"code": 0}, connect=True) for _ in range(10))
            )
            assert [await child.wait() for child in children] == [0] * 10

        async def settled() -> bool:
            return server.num_fds() == before and not server.children()

        await eventually(settled, timeout=10)
