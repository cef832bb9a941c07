"""Imported for its effect, last, by a fork server: does once what each run would do again.

Prefect's models are built at their first use only, which costs each process that has them to build
a quarter of its way to Running. Nothing else imports this: models imported after it are not built.
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio
from prefect.logging.configuration import setup_logging
from pydantic import BaseModel

from vibesurf_blocks.prefect_api import certificates
from vibesurf_blocks.settings import Settings


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


certificates.share()
setup_logging(incremental=False)
Settings.here()
_build_models()
anyio.run(anyio.sleep, 0)  # imports what it runs on
