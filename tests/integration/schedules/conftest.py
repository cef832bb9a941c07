"""A page that keeps an agent busy until the test is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.support.site import Site


@pytest.fixture
def hold(site: Site) -> Callable[[], Awaitable[str]]:
    """Makes such a page and returns its address."""

    async def make() -> str:
        return site.held("/held").url

    return make
