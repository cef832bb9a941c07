"""The tools of an agent: what their errors show, and how long each may take."""

from __future__ import annotations

import pytest

from tests.support.site import Site
from vibesurf_blocks.blocks import ComposioToolkits
from vibesurf_blocks.engines.browser_use.composio import ComposioTools
from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.settings import Settings

TOKEN = "comp-t0ken-nobody-may-see"


async def test_an_error_of_composio_repeats_no_secret_nor_half_of_one(site: Site) -> None:
    site.serve("/api/v3/tools/SEND", b"x" * 190 + TOKEN.encode(), "text/plain", status=401)
    block = ComposioToolkits.model_validate(
        {"api_key": TOKEN, "base_url": site.url(""), "tools": {"mail": ["SEND"]}}
    )
    tools = ComposioTools(block, Settings(), Secrets([], [TOKEN]))
    with pytest.raises(EngineError, match="answered 401") as caught:
        await tools.connect()
    await tools.end()
    assert "xxx" in caught.value.message
    assert "comp-" not in caught.value.message
