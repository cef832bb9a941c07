"""Statuses as they are stored, right or wrong: another program may have written the rows.

Rows are otherwise read through the six statuses alone, so that one in another case breaks the read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import LargeBinary, String, cast, column, func, select, table, update

from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from vibesurf_blocks.tables.database import Database

# Without the type that refuses what is none of the six.
_status = column("status", String())
_tasks = table("tasks", _status)


async def statuses(database: Database) -> dict[str, int]:
    """Return each status in the table `tasks`, letter by letter, and how many rows have it.

    Raises:
        Unavailable: The database does not answer.
    """
    # Where a table of another program's is compared without regard to case, its bytes are not.
    exact = cast(_status, LargeBinary()) if database.dialect == "mysql" else _status
    query = select(exact, func.count()).select_from(_tasks).group_by(exact)
    async with database.read() as connection:
        found = [(row[0], row[1]) for row in await connection.execute(query)]
    return {word.decode() if isinstance(word, bytes) else str(word): count for word, count in found}


async def mend_statuses(database: Database) -> int:
    """Write the statuses that are in another case, or have blanks around, as they should be.

    Returns:
        How many rows were changed.

    Raises:
        Unavailable: The database does not answer.
    """
    wrong = [word for word in await statuses(database) if word not in set(Status)]
    mended = 0
    async with database.write() as connection:
        for word in wrong:
            right = word.strip().lower()
            if right not in set(Status):
                continue
            exact = cast(_status, LargeBinary()) if database.dialect == "mysql" else _status
            given = word.encode() if database.dialect == "mysql" else word
            done = await connection.execute(
                update(_tasks).where(exact == given).values(status=right)
            )
            mended += done.rowcount
    return mended
