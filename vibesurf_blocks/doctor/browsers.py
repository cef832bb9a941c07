"""Check: no browser of a session is left without anybody who would use it again."""

from __future__ import annotations

from pathlib import Path

import psutil

from vibesurf_blocks.browser.session import FOLDER, keepers
from vibesurf_blocks.doctor.case import Case, is_online, workers
from vibesurf_blocks.doctor.finding import Finding, Told, told, warning


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
    known = {one.pid for one in kept}
    for process in _loose(workspace, known):
        what = f"Chromium {process.pid} works in {workspace} and no keeper looks after it."
        found.append(warning(what, f"`kill {process.pid}`"))
    used = sum(one.used for one in kept)
    return told(f"{len(kept)} kept, {used} in use", *found, kept=len(kept))


async def _somebody_works(case: Case) -> bool:
    return any(is_online(one) for one in await workers(case, case.settings.pool) or [])


def _loose(workspace: Path, known: set[int]) -> list[psutil.Process]:
    """Chromium's main processes with a profile in the workspace that are no keeper's children."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            profile = next((w for w in words if w.startswith("--user-data-dir=")), "")
            folder = Path(profile.partition("=")[2])
            ours = profile and folder.is_relative_to(workspace) and folder.parent.name == FOLDER
            main = not any(word.startswith("--type=") for word in words)
            if ours and main and process.ppid() not in known:
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found
