"""Which engine serves a task."""

from __future__ import annotations

from importlib.util import find_spec

from vibesurf_blocks.engines.backend import BackendEngine
from vibesurf_blocks.engines.browser_use.engine import BrowserUseEngine
from vibesurf_blocks.engines.protocol import Engine, EngineContext
from vibesurf_blocks.engines.reader import ReaderEngine
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.models.library import INSTALL
from vibesurf_blocks.tasks import BUILTIN_PROFILE


def engine_name(context: EngineContext) -> str:
    """What the engine for a task is called: `reader`, `browser-use` or `backend`."""
    if context.backend is not None:
        return "backend"
    return "reader" if context.task.llm_profile_name == BUILTIN_PROFILE else "browser-use"


def engine_for(context: EngineContext) -> Engine:
    """The engine for a task.

    Raises:
        EngineError: The extra that it needs is not installed.
    """
    if context.backend is not None:
        return BackendEngine(context)
    if context.task.llm_profile_name == BUILTIN_PROFILE:
        return ReaderEngine(context)
    if find_spec("browser_use") is None:
        msg = (
            f"The LLM profile {context.task.llm_profile_name!r} needs the extra 'browser'. Run "
            f"{INSTALL} where the worker runs, and start the worker again; "
            f"{BUILTIN_PROFILE!r} is the built-in reader, which needs nothing."
        )
        raise EngineError(msg)
    return BrowserUseEngine(context)
