"""Check: no browser of a session is left without anybody who would use it again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import psutil

from vibesurf_blocks.browser.session import FOLDER, is_keeper, keepers
from vibesurf_blocks.doctor.case import Case, is_online, workers
from vibesurf_blocks.doctor.finding import Finding, Told, told, warning

_ENDING_SECONDS = 0.5


async def browsers(case: Case) -> Told:
    """Look at the keepers of this workspace, and at Chromium processes without one."""
    workspace = case.settings.workspace_dir
    kept = keepers(workspace)
    found: list[Finding] = []
    idle = [one for one in kept if not one.used]
    if idle and not await _somebody_works(case):
        for one in idle:
            what = (
                f"The browser of session {one.session!r} runs (keeper {one.pid}), nobody uses it, "
                "and no worker is online that might: it was left by a stack that was killed."
            )
            mend = (
                f"`kill {one.pid}` ends it; by itself it goes once it was idle for "
                "VIBESURF_BROWSER_IDLE_SECONDS"
            )
            found.append(warning(what, mend, one.session))
    loose = find_loose(workspace)
    if loose:
        # Where its keeper was just killed, the kernel is about to end it.
        await asyncio.sleep(_ENDING_SECONDS)
        again = find_loose(workspace)
        loose = [one for one in loose if one in again]
    for process in loose:
        what = f"Chromium {process.pid} works in {workspace} and no keeper looks after it."
        found.append(warning(what, f"`kill {process.pid}`"))
    used = sum(one.used for one in kept)
    return told(f"{len(kept)} kept, {used} in use", *found, kept=len(kept))


async def _somebody_works(case: Case) -> bool:
    return any(is_online(one) for one in await workers(case, case.settings.pool) or [])


def find_loose(workspace: Path) -> list[psutil.Process]:
    """Chromium's main processes with a profile in the workspace that are no keeper's children.

    Keepers are told by what they run, as one that has just started has written nothing yet. A
    process that Chromium has just forked looks like Chromium itself for a moment.
    """
    keeping: set[int] = set()
    browsing: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:  # it ended meanwhile
            continue
        if is_keeper(words):
            keeping.add(process.pid)
        elif _is_browser(words, workspace):
            browsing.append(process)
    looked_after = keeping | {one.pid for one in browsing}
    found = []
    for process in browsing:
        with suppress(psutil.Error):
            if process.ppid() not in looked_after:
                found.append(process)
    return found


def _is_browser(words: list[str], workspace: Path) -> bool:
    profile = next((w for w in words if w.startswith("--user-data-dir=")), "")
    folder = Path(profile.partition("=")[2])
    ours = bool(profile) and folder.is_relative_to(workspace) and folder.parent.name == FOLDER
    return ours and not any(word.startswith("--type=") for word in words)
