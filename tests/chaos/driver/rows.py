"""Watches the table of tasks by itself: the database notes every change of a status."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_TRIGGERS = """
CREATE TABLE IF NOT EXISTS chaos_changes (
    at REAL NOT NULL, task_id TEXT NOT NULL, old TEXT, new TEXT NOT NULL, stamp TEXT);
CREATE TRIGGER IF NOT EXISTS chaos_update AFTER UPDATE OF status ON tasks
    WHEN OLD.status <> NEW.status BEGIN
    INSERT INTO chaos_changes VALUES ((julianday('now') - 2440587.5) * 86400.0,
        NEW.task_id, OLD.status, NEW.status, NEW.updated_at); END;
CREATE TRIGGER IF NOT EXISTS chaos_insert AFTER INSERT ON tasks BEGIN
    INSERT INTO chaos_changes VALUES ((julianday('now') - 2440587.5) * 86400.0,
        NEW.task_id, NULL, NEW.status, NEW.updated_at); END;
CREATE TRIGGER IF NOT EXISTS chaos_delete AFTER DELETE ON tasks BEGIN
    INSERT INTO chaos_changes VALUES ((julianday('now') - 2440587.5) * 86400.0,
        OLD.task_id, OLD.status, 'deleted', NULL); END;
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A row came to a status.

    Attributes:
        at: Seconds since the epoch.
        old: The status before, None where there was no row.
        new: The status then, `deleted` where the row went.
    """

    at: float
    task_id: str
    old: str | None
    new: str


class Detail(NamedTuple):
    """What a row says of how its task went."""

    status: str
    result: str
    error: str
    profile: str
    seen: tuple[str, ...] = ()
    """Instructions that its history says the agent saw."""


class Rows:
    """The table of tasks of a home, read beside the product."""

    def __init__(self, home: Path) -> None:
        self._path = home / "vibesurf.db"

    def watch(self) -> None:
        """Have the database note changes from now on."""
        with closing(sqlite3.connect(self._path, timeout=30)) as connection:
            connection.executescript(_TRIGGERS)

    def statuses(self) -> dict[str, str]:
        """The status of each task by its id."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT task_id, status FROM tasks"))

    def details(self) -> dict[str, Detail]:
        """How each task went, by its id."""
        asked = (
            "SELECT task_id, status, coalesce(task_result, ''), coalesce(error_message, ''),"
            " llm_profile_name, task_metadata FROM tasks"
        )
        with self._reading() as connection:
            return {
                one[0]: Detail(one[1], one[2], one[3], one[4], _seen(one[5]))
                for one in connection.execute(asked)
            }

    def changes(self) -> list[Change]:
        """Every change so far, in the order they were made."""
        asked = "SELECT at, task_id, old, new FROM chaos_changes ORDER BY rowid"
        with self._reading() as connection:
            return [Change(*one) for one in connection.execute(asked)]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        address = f"file:{self._path}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
            yield connection


def _seen(metadata: str | None) -> tuple[str, ...]:
    history = (json.loads(metadata or "null") or {}).get("history") or []
    return tuple(
        str(one["reason"])
        for one in history
        if one["operation"] == "add_new_task" and str(one["outcome"]).startswith("Seen")
    )
