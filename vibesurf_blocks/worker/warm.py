"""Imported for its effect, last, by a fork server: does once what each run would do again.

Reading Prefect's settings and setting up its logging take 0.15 s; the children of a fork server
that has done it for their environment need not. Prefect's models are built at their first use only,
which costs each process that has them to build a quarter of its way to Running.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio
from prefect.context import refresh_global_settings_context
from prefect.logging.configuration import setup_logging
from prefect.settings import get_current_settings
from pydantic import BaseModel

from vibesurf_blocks.prefect_api import certificates
from vibesurf_blocks.settings import Settings

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


def _build_models() -> None:
    """Build the models of Prefect that are imported but not built yet."""
    for model in list(_models(BaseModel)):
        if model.__module__.startswith("prefect.") and not model.__pydantic_complete__:
            # One that refers to what is not imported is left as it is.
            model.model_rebuild(raise_errors=False)


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


_GIVEN: Final = _settings()
_FOUND: Final = get_current_settings().to_environment_variables(exclude_unset=True)
certificates.share()
setup_logging(incremental=False)
Settings.here()
_build_models()
anyio.run(anyio.sleep, 0)  # imports what it runs on
