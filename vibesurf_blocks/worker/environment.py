"""The environment of a run in a warm child, of which its fork server has read most already.

Reading Prefect's settings and setting up its logging take 0.15 s; the children of a fork server
that has done it for their environment need not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from prefect.context import refresh_global_settings_context
from prefect.logging.configuration import setup_logging
from prefect.settings import get_current_settings

_SETTINGS_FILES = ("prefect.toml", "pyproject.toml", ".env")


def _settings() -> dict[str, str]:
    """What the environment says to Prefect; with two underscores it is no setting."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }


def take_over_environment() -> None:
    """Have Prefect read settings and logging anew, where they may differ from those read before.

    A worker gives its runs the environment it has and, beside it, each setting it has from a file.
    """
    here = _settings()
    known = _GIVEN.items() | _FOUND.items()
    files = any(Path(name).exists() for name in _SETTINGS_FILES)
    if _GIVEN.keys() <= here.keys() and here.items() <= known and not files:
        return
    refresh_global_settings_context()
    setup_logging(incremental=False)


_GIVEN: Final = _settings()
_FOUND: Final = get_current_settings().to_environment_variables(exclude_unset=True)
