"""Prefect's own test suite for the blocks of a collection."""

from __future__ import annotations

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite

from tests.support.stack import LiveStack
from vibesurf_blocks import blocks


@pytest.mark.parametrize("name", blocks.__all__)
class TestBlocks(BlockStandardTestSuite):
    """Each block, with its logo read from the running API."""

    @pytest.fixture
    def block(
        self, name: str, live_stack: LiveStack, monkeypatch: pytest.MonkeyPatch
    ) -> type[Block]:
        monkeypatch.setenv("VIBESURF_API_URL", live_stack.api)
        kind: type[Block] = getattr(blocks, name)
        return kind
