"""Column types that mean the same on SQLite, PostgreSQL and MySQL/MariaDB."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import JsonValue
from sqlalchemy import DateTime, Enum, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator

from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

JsonObject = dict[str, JsonValue]


def storable(text: str) -> str:
    """Return `text` with U+FFFD for what no database stores: NUL characters, lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def canonical_json(value: object) -> str:
    """Return the JSON text of `value`, the same text for equal values.

    Raises:
        ValueError: `value` holds a number that JSON has no word for (NaN, infinity).
        TypeError: `value` holds something that is not JSON.
    """
    return storable(
        json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    )


class UTCTime(TypeDecorator[datetime]):
    """A moment, in microseconds: `timestamptz` on PostgreSQL, UTC without an offset elsewhere.

    Takes aware datetimes only and gives aware ones in UTC back.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Return the column type of `dialect`."""
        if dialect.name == "postgresql":
            return postgresql.TIMESTAMP(timezone=True, precision=6)
        if dialect.name in {"mysql", "mariadb"}:
            return mysql.DATETIME(fsp=6)
        return DateTime()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the driver is given.

        Raises:
            ValueError: `value` says no offset.
        """
        if value is None:
            return None
        if value.tzinfo is None or value.utcoffset() is None:
            msg = f"a time in the tables needs an offset; {value.isoformat()} has none"
            raise ValueError(msg)
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment as an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JSONText(TypeDecorator[JsonObject]):
    """A JSON object in a text column, as canonical JSON."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the column type of `dialect`."""
        return mysql.LONGTEXT() if dialect.name in {"mysql", "mariadb"} else Text()

    def process_bind_param(self, value: JsonObject | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the JSON text."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> JsonObject | None:  # noqa: ARG002
        """Return the object."""
        if value is None:
            return None
        loaded: JsonObject = json.loads(value)
        return loaded


LARGE_TEXT = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
"""Text without a limit that a task could reach; MySQL's plain TEXT ends at 64 KB."""

STATUS = Enum(
    Status,
    name="task_status",
    native_enum=False,
    create_constraint=True,
    validate_strings=True,
    length=16,
    values_callable=lambda statuses: [status.value for status in statuses],
)
"""One of the six statuses, stored as its lower-case text and checked by the database."""
