"""Sees when rows change, by reading the tables' file every few milliseconds."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

EVERY = 0.005
"""Seconds between two looks, and so the greatest error of what is seen."""


@dataclass(slots=True)
class Watch:
    """What was seen: for each task, which `updated_at` its row showed first when."""

    seen: dict[str, list[tuple[datetime, float]]] = field(default_factory=dict)

    def shown(self, run_id: UUID, state_at: datetime) -> float | None:
        """The wall-clock time at which a row first showed a state, or one that came after it."""
        for updated, moment in self.seen.get(str(run_id), []):
            if updated >= state_at:
                return moment
        return None


@contextmanager
def watching(tables: Path) -> Iterator[Watch]:
    """Watch the newest rows for as long as the block lasts."""
    watch = Watch()
    ending = threading.Event()

    def look() -> None:
        with closing(sqlite3.connect(f"file:{tables}?mode=ro", uri=True)) as connection:
            while not ending.wait(EVERY):
                moment = time.time()
                rows = connection.execute(
                    "SELECT task_id, updated_at FROM tasks ORDER BY created_at DESC LIMIT 5"
                )
                for task_id, updated in rows:
                    known = watch.seen.setdefault(task_id, [])
                    told = datetime.fromisoformat(updated)
                    told = told if told.tzinfo else told.replace(tzinfo=UTC)
                    if not known or known[-1][0] < told:
                        known.append((told, moment))

    thread = threading.Thread(target=look, name="watch-rows")
    thread.start()
    try:
        yield watch
    finally:
        ending.set()
        thread.join()
