"""A program on a tether ends with whoever started it, and all that it started with it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually
from vibesurf_blocks.processes import tether

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent")

# Starts a program on a tether, and waits; its arguments are those of the tether.
STARTER = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), *sys.argv[2:]]).wait()
"""
SLEEPER = """
import os, signal, sys, time
from pathlib import Path
if "own" in sys.argv:
    os.setsid()
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""


class Family:
    """A grandchild of a shell that waits for it."""

    def __init__(self, folder: Path) -> None:
        self.note = folder / "pid"
        self.pid = 0

    def command(self, *how: str, then: str = "wait") -> list[str]:
        sleeper = " ".join(f"'{one}'" for one in (sys.executable, "-c", SLEEPER, self.note, *how))
        return ["sh", "-c", f"{sleeper} & {then}"]

    async def there(self) -> bool:
        with suppress(OSError, ValueError):
            self.pid = int(self.note.read_text())
        return self.pid > 0

    async def gone(self) -> bool:
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    made = Family(tmp_path)
    yield made
    if made.pid:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(made.pid).kill()


def on_tether(command: list[str]) -> list[str]:
    return [sys.executable, "-I", "-S", tether.__file__, str(psutil.Process().pid), *command]


@pytest.mark.parametrize("how", ["", "deaf", "own"])
async def test_a_killed_run_takes_the_children_of_its_servers_along(
    family: Family, how: str
) -> None:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, tether.__file__, *family.command(how)
    )
    await eventually(family.there, timeout=20)
    starter.kill()
    await starter.wait()
    await eventually(family.gone, timeout=20)


@pytest.mark.parametrize("how", ["", "deaf", "own"])
async def test_a_server_that_is_asked_to_end_takes_its_children_along(
    family: Family, how: str
) -> None:
    process = await asyncio.create_subprocess_exec(*on_tether(family.command(how)))
    await eventually(family.there, timeout=20)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() < 0
    await eventually(family.gone, timeout=20)


async def test_what_a_program_leaves_behind_ends_too(family: Family) -> None:
    there = f"while [ ! -s '{family.note}' ]; do sleep 0.05; done; exit 7"
    process = await asyncio.create_subprocess_exec(*on_tether(family.command(then=there)))
    assert await process.wait() == 7
    assert await family.there()
    await eventually(family.gone, timeout=20)


def test_pipes_and_exit_codes_are_those_of_the_program() -> None:
    def run(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            on_tether(list(command)),
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    echo = run("cat", given="hello\n")
    assert (echo.stdout, echo.returncode) == ("hello\n", 0)
    assert run("sh", "-c", "kill -KILL $$").returncode == -signal.SIGKILL
    missing = run("/nowhere/mcp")
    assert (missing.returncode, missing.stderr) == (1, "/nowhere/mcp: No such file or directory\n")
    orphan = subprocess.run(
        [sys.executable, "-I", "-S", tether.__file__, "1", "true"], timeout=60, check=False
    )
    assert orphan.returncode == 1
