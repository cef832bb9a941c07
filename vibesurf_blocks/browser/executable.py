"""Finds a Chromium to start: the one named, else one on the path, else one of Playwright's."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vibesurf_blocks.errors import EngineError

NAMES: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "microsoft-edge",
    "brave-browser",
)
"""Programs looked for on the path, in this order."""

_MAC: Final = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "/Applications/Brave Browser.app/Contents/MacOS/Brave Browser",
)
_PLAYWRIGHT: Final = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium",
    "chromium_headless_shell-*/chrome-*/headless_shell",
    "chromium_headless_shell-*/chrome-*/chrome-headless-shell",
)

ADVICE: Final = (
    "No Chromium is installed. On Debian or Ubuntu: `apt-get install chromium`. On macOS: "
    "`brew install --cask chromium`, or install Google Chrome. Where one lies elsewhere, name it "
    "in VIBESURF_BROWSER_EXECUTABLE, or as `executable` of the block Browser Settings."
)


def find_executable(named: str | Path | None) -> Path:
    """The Chromium, or a browser made from it, to start.

    Args:
        named: The one a person chose, as a path or a program on the path; None to look for one.

    Raises:
        EngineError: The named one is no program, or none is installed.
    """
    if named is not None:
        found = shutil.which(Path(named).expanduser())
        if found is None:
            msg = (
                f"The browser {str(named)!r} is not there, or is no program. Correct "
                "VIBESURF_BROWSER_EXECUTABLE or `executable` of the block Browser Settings."
            )
            raise EngineError(msg)
        return Path(found)
    for candidate in _candidates():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise EngineError(ADVICE)


def _candidates() -> Iterator[Path]:
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            yield Path(found)
    if sys.platform == "darwin":
        yield from map(Path, _MAC)
    for folder in _playwright_folders():
        for pattern in _PLAYWRIGHT:
            # The newest of several.
            yield from sorted(folder.glob(pattern), reverse=True)


def _playwright_folders() -> Iterator[Path]:
    if (given := os.environ.get("PLAYWRIGHT_BROWSERS_PATH")) not in {None, "", "0"}:
        yield Path(str(given))
    home = Path.home()
    caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
    yield home / caches / "ms-playwright"
