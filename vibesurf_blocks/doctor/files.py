"""Checks of the home: its room, and who may write there."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Finding, Told, error, told, warning

LITTLE_BYTES: Final = 1_000_000_000
NONE_BYTES: Final = 100_000_000


async def disk(case: Case) -> Told:
    """Look at the room that is left for the home and the workspace."""
    found: list[Finding] = []
    says: list[str] = []
    seen: set[int] = set()
    for folder in (case.settings.home_dir, case.settings.workspace_dir):
        place = _existing(folder)
        device = place.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(place).free
        says.append(f"{free / 1e9:.1f} GB free for {folder}")
        if free < LITTLE_BYTES:
            what = f"Only {free / 1e6:.0f} MB are free for {folder}."
            mend = (
                f"See what is large: `du -sh {folder}/*`; old sessions under "
                f"{case.settings.workspace_dir} may be deleted."
            )
            make = error if free < NONE_BYTES else warning
            if make is error:
                what += " PostgreSQL, rows and checkpoints cannot be written any more."
            found.append(make(what, mend))
    return told(", ".join(says), *found)


async def home(case: Case) -> Told:
    """Look at the permissions of the home."""
    folder = case.settings.home_dir
    if not folder.exists():
        what = f"There is no home {folder}."
        mend = "`vibesurf-blocks up` makes it; if yours is elsewhere: `export VIBESURF_HOME=FOLDER`"
        return told("missing", warning(what, mend))
    found: list[Finding] = []
    for place in (folder, case.settings.workspace_dir):
        if not place.exists():
            continue
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            what = f"{place} cannot be read and written by this user (uid {os.getuid()})."
            found.append(error(what, f"`sudo chown -R $(id -un) {place}`"))
        elif place.stat().st_mode & stat.S_IWOTH:
            what = (
                f"{place} can be written by everybody on this machine, what agents are to go on "
                "with included."
            )
            found.append(warning(what, f"`chmod o-w {place}`"))
    return told(str(folder), *found)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
