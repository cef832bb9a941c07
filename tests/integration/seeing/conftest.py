"""A book per test, for an agent to read, and the doctor's view of the stack."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.book import books
from tests.support.stack import LiveStack
from vibesurf_blocks.cli.doctor import opened
from vibesurf_blocks.doctor.case import Case

__all__ = ["books", "case"]


@pytest.fixture
async def case(stack: LiveStack) -> AsyncIterator[Case]:
    """The stack, as `vibesurf-blocks doctor` opens it."""
    async with opened(stack.settings) as found:
        yield found
