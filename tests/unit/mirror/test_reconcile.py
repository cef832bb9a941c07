"""Reconciling comes to its end however slow Prefect is, and gives up a read that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from vibesurf_blocks.mirror import sync as module
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api import runs as prefect_runs
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import TaskStore

PAGES = 6
LIMIT = 0.2


class Slow(Sync):
    """Notes which pages came to it; they hold nothing that is to be written."""

    def __init__(self, store: TaskStore, tmp_path: Path) -> None:
        client: Any = None
        super().__init__(client, store, Settings(home=tmp_path))
        self.handed = 0

    async def runs(self, runs: Any) -> list[str]:
        self.handed += 1
        return []


def scans(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have Prefect take that long for each page."""

    async def pages(*asked: Any) -> AsyncIterator[list[Any]]:
        for _ in range(PAGES // 2):
            await asyncio.sleep(seconds)
            yield []

    monkeypatch.setattr(module, "READ_SECONDS", LIMIT)
    monkeypatch.setattr(prefect_runs, "unfinished", pages)
    monkeypatch.setattr(prefect_runs, "ended_since", pages)


async def test_many_slow_pages_take_longer_than_one_read_may(
    store: TaskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans(monkeypatch, LIMIT / 3)
    sync = Slow(store, tmp_path)
    assert await sync.reconcile(datetime.now(UTC)) == set()
    assert sync.handed == PAGES


async def test_a_page_that_hangs_is_given_up(
    store: TaskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans(monkeypatch, 60)
    with pytest.raises(TimeoutError):
        await Slow(store, tmp_path).reconcile(datetime.now(UTC))


def test_ids_are_read_a_page_at_a_time() -> None:
    ids: list[UUID] = [uuid4() for _ in range(5)]
    assert list(module.batched(ids, 2)) == [ids[:2], ids[2:4], ids[4:]]
