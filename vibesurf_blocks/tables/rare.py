"""A condition that few rows meet, said so that the plan of a query never depends on statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class rare(GenericFunction[bool]):  # noqa: N801 - reads as the SQL function it becomes
    """`condition`, of which SQLite is told that few rows meet it.

    SQLite's `ANALYZE` keeps how many rows a value has on average, not which values are rare. Once
    it has run on a table in which all tasks have ended, it takes those that wait or run for as
    many and goes through the whole table to find none of them; connections keep such statistics
    while the table grows. `unlikely()` goes before statistics
    (https://sqlite.org/lang_corefunc.html#unlikely). The other databases know their rare values.
    """

    # No type, on purpose: of a boolean, SQLAlchemy would ask `= 1`, for which there is no index.
    inherit_cache = True


@compiles(rare)
def _plain(condition: rare, compiler: SQLCompiler, **options: object) -> str:
    return compiler.process(condition.clause_expr, **options)  # which has its brackets


@compiles(rare, "sqlite")
def _unlikely(condition: rare, compiler: SQLCompiler, **options: object) -> str:
    return f"unlikely{compiler.process(condition.clause_expr, **options)}"
