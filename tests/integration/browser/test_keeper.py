"""The browser of a session outlives runs, is found again, and outlives nothing it should not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.eventually import eventually
from vibesurf_blocks.browser.executable import find_executable
from vibesurf_blocks.browser.launch import Launch
from vibesurf_blocks.browser.session import FOLDER, Attached, end_browsers, session_browser
from vibesurf_blocks.doctor.browsers import find_loose
from vibesurf_blocks.errors import EngineError

KEPT: dict[str, Any] = {"idle_seconds": 600, "start_seconds": 30}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Path]:
    """A session's folder; its browser ends with the test."""
    yield tmp_path / "s-1"
    end_browsers([tmp_path / "s-1" / FOLDER])


@pytest.fixture
def launch() -> Launch:
    return Launch(str(find_executable(None)))


def of(session: Path) -> list[psutil.Process]:
    """The processes of a session's browser."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = any(str(session) in word for word in process.cmdline())
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def nothing_left(session: Path) -> None:
    async def gone() -> bool:
        return not of(session)

    await eventually(gone, timeout=15)


async def attach(session: Path, launch: Launch, **more: Any) -> Attached:
    async with session_browser(session, launch, **{**KEPT, **more}) as attached:
        return attached


async def test_it_is_started_once_and_again_after_it_or_its_keeper_was_killed(
    session: Path, launch: Launch
) -> None:
    first = await attach(session, launch)
    assert await attach(session, launch) == first

    psutil.Process(first.pid).kill()
    await nothing_left(session)
    second = await attach(session, launch)
    assert second.address != first.address

    # The kernel ends Chromium with its keeper.
    psutil.Process(second.keeper).kill()
    await nothing_left(session)
    temporary = set(Path("/tmp").glob("vibesurf-browser-*"))  # noqa: ASYNC240
    third = await attach(session, launch)
    # The start swept what the killed one could not.
    assert len(set(Path("/tmp").glob("vibesurf-browser-*")) - temporary) == 1  # noqa: ASYNC240

    await asyncio.to_thread(end_browsers, [session / FOLDER])
    assert not of(session)
    assert third.address != second.address
    assert not (session / FOLDER / "keeper.json").exists()


async def test_only_one_without_a_keeper_is_told_of(session: Path, launch: Launch) -> None:
    async with session_browser(session, launch, **KEPT):
        assert not find_loose(session.parent)
        profile = session.with_name("s-2") / FOLDER / "profile"
        idle = [sys.executable, "-c", "import time; time.sleep(600)"]
        command = [*idle, f"--user-data-dir={profile}"]
        with subprocess.Popen(command) as orphan:  # noqa: ASYNC220 - returns after the fork
            assert [one.pid for one in find_loose(session.parent)] == [orphan.pid]
            assert not find_loose(session)  # of another workspace it is none
            orphan.kill()


async def test_it_ends_when_idle_and_not_while_it_is_used(session: Path, launch: Launch) -> None:
    async with session_browser(session, launch, idle_seconds=0, start_seconds=30) as attached:
        keeper = psutil.Process(attached.keeper)
        # It looks every half second: it has looked by then, more than once.
        with pytest.raises(psutil.TimeoutExpired):
            await asyncio.to_thread(keeper.wait, 2)
    await nothing_left(session)


async def test_it_ends_with_its_folder(session: Path, launch: Launch) -> None:
    await attach(session, launch)
    # Moved in one go: what is removed piece by piece, Chromium writes anew meanwhile.
    await asyncio.to_thread(session.rename, session.with_name("removed"))
    await nothing_left(session)


async def test_other_settings_start_another_but_not_for_a_run_that_goes_on(
    session: Path, launch: Launch
) -> None:
    wide = Launch(launch.executable, width=1600)
    first = await attach(session, launch)
    assert await attach(session, wide, known=first.address) == first
    assert await attach(session, wide) != first


async def test_what_it_complained_of_is_told(session: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no library libx11 >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(EngineError, match=r"broken did not start: no library libx11"):
        await attach(session, Launch(str(broken)))
