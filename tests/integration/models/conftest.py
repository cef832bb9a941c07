"""A model on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.model_server import ModelServer, running


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A scripted model, gone after the test."""
    with running() as server:
        yield server
