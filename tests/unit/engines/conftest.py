"""A misbehaving web site for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.site import Site, running


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on loopback."""
    with running() as made:
        yield made
