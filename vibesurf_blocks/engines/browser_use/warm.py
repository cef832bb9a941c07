"""Imported for its effect, by a fork server: has browser-use ready for the children.

Its import takes seconds, which each run would wait for; shared, it costs the idle stack some 80 MB.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from vibesurf_blocks.models import library
from vibesurf_blocks.settings import Settings

if find_spec("browser_use") is not None:
    library.prepare(Settings())
    for name in (
        "vibesurf_blocks.engines.browser_use.driver",
        "vibesurf_blocks.engines.browser_use.tools",
        # What most providers are spoken to with.
        "browser_use.llm.openai.chat",
        # What each connection to a browser would import.
        "cdp_use.cdp.library",
    ):
        importlib.import_module(name)
