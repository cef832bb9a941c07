"""browser-use as this project wants it: imported when it is needed, quiet, and within our home."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final

from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.settings import Settings

INSTALL: Final = "pip install 'vibesurf-blocks[browser]'"

_QUIET: Final = {
    "ANONYMIZED_TELEMETRY": "false",
    "BROWSER_USE_CLOUD_SYNC": "false",
    "BROWSER_USE_VERSION_CHECK": "false",
    "BROWSER_USE_CLOUD_HINTS": "false",
    "BROWSER_USE_DISABLE_EXTENSIONS": "true",
    "BROWSER_USE_SETUP_LOGGING": "false",
}
"""Nothing is sent anywhere, nothing is fetched, and the logs stay ours. Read at its import."""


def prepare(settings: Settings) -> None:
    """Set what browser-use reads at its import; what the environment has already stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("BROWSER_USE_CONFIG_DIR", str(settings.home_dir / "browser-use"))


def load(module: str, settings: Settings) -> ModuleType:
    """A module of browser-use.

    Raises:
        ModelError: The extra, or what this module needs beside it, is not installed.
    """
    prepare(settings)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        what = INSTALL if missing == "browser_use" else f"pip install {missing}"
        msg = (
            f"The Python package {missing!r} is not installed where this runs. Run {what} there "
            "and try again."
        )
        raise ModelError(msg) from error
