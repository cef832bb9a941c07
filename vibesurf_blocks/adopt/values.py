"""Reads what VibeSurf keeps in its columns: SQLite holds any value in any of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pydantic import JsonValue

from vibesurf_blocks.tables.types import storable


def text(value: object) -> str | None:
    """A text, None for nothing and for an empty one."""
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return storable(str(value)) or None


def moment(value: object) -> datetime | None:
    """A time in UTC, None for nothing and for what is no time.

    VibeSurf writes times without an offset and means UTC: SQLite's CURRENT_TIMESTAMP, or
    SQLAlchemy's text of a time in UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def flag(value: object, *, default: bool) -> bool:
    """A boolean; the default for nothing and for what is none."""
    if isinstance(value, int | float):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in {"0", "1", "true", "false"}:
        return value.strip().lower() in {"1", "true"}
    return default


def json_value(value: object) -> JsonValue:
    """What a column of JSON holds; None for nothing.

    Raises:
        ValueError: It is no JSON.
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        if not value.strip():
            return None
        read: JsonValue = json.loads(value, parse_constant=_no_constant)
        return read
    if value is None or isinstance(value, int | float):
        return value
    msg = "no JSON"
    raise ValueError(msg)


def _no_constant(name: str) -> None:
    msg = f"{name} is no JSON"
    raise ValueError(msg)
