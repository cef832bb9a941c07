"""Create the tables tasks, schedules and llm_profiles.

On MySQL each statement stands at once. A run that was killed half-way is taken up by the next one:
what is there already, with the same columns, is kept.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

from vibesurf_blocks.errors import StackError

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

LARGE = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = (
    sa.DateTime()
    .with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")
    .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
)
STATUSES = ("pending", "running", "paused", "completed", "failed", "stopped")

INDEXES: dict[str, dict[str, tuple[str, ...]]] = {
    "tasks": {
        "idx_tasks_status": ("status", "created_at", "task_id"),
        "idx_tasks_session": ("session_id", "created_at", "task_id"),
        "idx_tasks_llm_profile": ("llm_profile_name", "created_at", "task_id"),
        "idx_tasks_created": ("created_at", "task_id"),
        "idx_tasks_completed": ("completed_at", "task_id"),
        "idx_tasks_updated": ("updated_at",),
    },
    "schedules": {
        "idx_schedules_flow_id": ("flow_id",),
        "idx_schedules_enabled": ("is_enabled",),
        "idx_schedules_next_execution": ("next_execution_at",),
        "idx_schedules_cron": ("cron_expression",),
    },
    "llm_profiles": {},
}
UNIQUE = {"idx_schedules_flow_id"}


def _columns() -> dict[str, list[sa.Column[Any] | sa.Constraint]]:
    return {
        "tasks": [
            sa.Column("task_id", sa.String(36), nullable=False, primary_key=True),
            sa.Column("session_id", sa.String(255), nullable=False),
            sa.Column("task_description", LARGE, nullable=False),
            sa.Column("status", sa.String(16), nullable=False, server_default="pending"),
            sa.Column("llm_profile_name", sa.String(100), nullable=False),
            sa.Column("upload_files_path", sa.String(500)),
            sa.Column("workspace_dir", sa.String(500)),
            sa.Column("mcp_server_config", LARGE),
            sa.Column("agent_mode", sa.String(50), nullable=False, server_default="thinking"),
            sa.Column("task_result", LARGE),
            sa.Column("error_message", LARGE),
            sa.Column("report_path", sa.String(500)),
            sa.Column("created_at", MOMENT, nullable=False),
            sa.Column("updated_at", MOMENT, nullable=False),
            sa.Column("started_at", MOMENT),
            sa.Column("completed_at", MOMENT),
            sa.Column("task_metadata", sa.JSON(), nullable=False),
            sa.CheckConstraint(
                sa.column("status").in_(STATUSES), name=op.f("ck_tasks_task_status")
            ),
        ],
        "schedules": [
            sa.Column("id", sa.String(36), nullable=False, primary_key=True),
            sa.Column("flow_id", sa.String(255), nullable=False),
            sa.Column("cron_expression", sa.String(100)),
            sa.Column("is_enabled", sa.Boolean(), nullable=False),
            sa.Column("description", LARGE),
            sa.Column("last_execution_at", MOMENT),
            sa.Column("next_execution_at", MOMENT),
            sa.Column("execution_count", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("created_at", MOMENT, nullable=False),
            sa.Column("updated_at", MOMENT, nullable=False),
        ],
        "llm_profiles": [
            sa.Column("profile_id", sa.String(36), nullable=False, primary_key=True),
            sa.Column("profile_name", sa.String(100), nullable=False),
            sa.Column("provider", sa.String(255), nullable=False),
            sa.Column("model", sa.String(255), nullable=False),
            sa.Column("base_url", sa.String(500)),
            sa.Column("encrypted_api_key", LARGE),
            sa.Column("temperature", sa.JSON()),
            sa.Column("max_tokens", sa.JSON()),
            sa.Column("top_p", sa.JSON()),
            sa.Column("frequency_penalty", sa.JSON()),
            sa.Column("seed", sa.JSON()),
            sa.Column("provider_config", sa.JSON()),
            sa.Column("description", LARGE),
            sa.Column("is_active", sa.Boolean(), nullable=False),
            sa.Column("is_default", sa.Boolean(), nullable=False),
            sa.Column("created_at", MOMENT, nullable=False),
            sa.Column("updated_at", MOMENT, nullable=False),
            sa.Column("last_used_at", MOMENT),
            sa.UniqueConstraint("profile_name", name="uq_llm_profiles_profile_name"),
        ],
    }


def upgrade() -> None:
    """Create the tables.

    Raises:
        StackError: A table of one of these names is there that has other columns.
    """
    found = sa.inspect(op.get_bind())
    present = set(found.get_table_names())
    tables = _columns()
    for table, parts in tables.items():
        if table not in present:
            continue
        columns = {part.name for part in parts if isinstance(part, sa.Column)}
        if {column["name"] for column in found.get_columns(table)} != columns:
            msg = (
                f"The database already holds another table called '{table}': give vibesurf-blocks "
                "a database of its own (VIBESURF_DATABASE_URL)."
            )
            raise StackError(msg)
    for table, parts in tables.items():
        if table not in present:
            op.create_table(
                table,
                *parts,
                mysql_engine="InnoDB",
                mysql_charset="utf8mb4",
                mysql_collate="utf8mb4_bin",
            )
        existing = (
            {index["name"] for index in found.get_indexes(table)} if table in present else set()
        )
        for name, on in INDEXES[table].items():
            if name not in existing:
                op.create_index(name, table, list(on), unique=name in UNIQUE)


def downgrade() -> None:
    """Drop the tables."""
    for table in INDEXES:
        op.drop_table(table)
