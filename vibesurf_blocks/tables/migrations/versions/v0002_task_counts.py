"""Keep how many tasks there are of each status and profile, so that no list has to count them.

The database itself keeps the numbers, so no writer can forget them. Not on MySQL and MariaDB:
triggers need rights there that the owner of a database often does not have, so tasks are counted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_FIRST = """
INSERT INTO task_counts (status, llm_profile_name, amount)
SELECT status, llm_profile_name, count(*) FROM tasks GROUP BY status, llm_profile_name
"""

_ONE_MORE = """
INSERT INTO task_counts (status, llm_profile_name, amount)
VALUES (NEW.status, NEW.llm_profile_name, 1)
ON CONFLICT (status, llm_profile_name) DO UPDATE SET amount = amount + 1;
"""

_ONE_LESS = """
UPDATE task_counts SET amount = amount - 1
WHERE status = OLD.status AND llm_profile_name = OLD.llm_profile_name;
"""

_SQLITE = (
    f"CREATE TRIGGER task_counts_insert AFTER INSERT ON tasks BEGIN {_ONE_MORE} END",
    f"CREATE TRIGGER task_counts_delete AFTER DELETE ON tasks BEGIN {_ONE_LESS} END",
    "CREATE TRIGGER task_counts_update AFTER UPDATE OF status, llm_profile_name ON tasks "
    "WHEN OLD.status <> NEW.status OR OLD.llm_profile_name <> NEW.llm_profile_name "
    f"BEGIN {_ONE_LESS} {_ONE_MORE} END",
)

# Once for each statement, not for each row; in one order, so that no two writers wait for each
# other.
_FUNCTION = """
CREATE FUNCTION task_counts_{when}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_counts AS kept (status, llm_profile_name, amount)
    SELECT status, llm_profile_name, sum(one) FROM ({changes}) AS changes
    GROUP BY status, llm_profile_name HAVING sum(one) <> 0 ORDER BY status, llm_profile_name
    ON CONFLICT (status, llm_profile_name) DO UPDATE SET amount = kept.amount + excluded.amount;
    RETURN NULL;
END
$$
"""
_TRIGGER = """
CREATE TRIGGER task_counts_{when} AFTER {when} ON tasks REFERENCING {seen}
FOR EACH STATEMENT EXECUTE FUNCTION task_counts_{when}()
"""
_MORE = "SELECT status, llm_profile_name, 1 AS one FROM fresh"
_LESS = "SELECT status, llm_profile_name, -1 AS one FROM stale"
_POSTGRESQL = {
    "insert": ("NEW TABLE AS fresh", _MORE),
    "delete": ("OLD TABLE AS stale", _LESS),
    "update": ("OLD TABLE AS stale NEW TABLE AS fresh", f"{_MORE} UNION ALL {_LESS}"),
}
_TRUNCATED = """
CREATE FUNCTION task_counts_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM task_counts;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """Count what is there, and keep counting."""
    dialect = op.get_bind().dialect.name
    if dialect not in {"sqlite", "postgresql"}:
        return
    op.create_table(
        "task_counts",
        sa.Column("status", sa.String(16), primary_key=True),
        sa.Column("llm_profile_name", sa.String(100), primary_key=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
    )
    if dialect == "sqlite":
        for trigger in _SQLITE:
            op.execute(trigger)
    else:
        for when, (seen, changes) in _POSTGRESQL.items():
            op.execute(_FUNCTION.format(when=when, changes=changes))
            op.execute(_TRIGGER.format(when=when, seen=seen))
        op.execute(_TRUNCATED)
        op.execute(
            "CREATE TRIGGER task_counts_truncate AFTER TRUNCATE ON tasks "
            "FOR EACH STATEMENT EXECUTE FUNCTION task_counts_truncate()"
        )
    op.execute(_FIRST)


def downgrade() -> None:
    """Count no longer."""
    dialect = op.get_bind().dialect.name
    if dialect not in {"sqlite", "postgresql"}:
        return
    for when in ("insert", "delete", "update", "truncate"):
        if dialect == "postgresql":
            op.execute(f"DROP FUNCTION task_counts_{when}() CASCADE")
        elif when != "truncate":
            op.execute(f"DROP TRIGGER task_counts_{when}")
    op.drop_table("task_counts")
