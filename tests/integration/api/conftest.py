"""A book per test, for an agent to read, and a second process of the API."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.book import books
from tests.support.stack import LiveStack, end
from vibesurf_blocks.stack.ready import free_port, wait_ready

__all__ = ["books", "second_api"]


@pytest.fixture
async def second_api(stack: LiveStack) -> AsyncIterator[str]:
    """Another process of the API on the same stack; its address."""
    port = free_port()
    program = stack.open(sys.executable, "-m", "vibesurf_blocks", "api", "--port", str(port))
    base = f"http://127.0.0.1:{port}"
    try:
        await wait_ready(f"{base}/tasks/status", timeout=60)
        yield base
    finally:
        end(program)
