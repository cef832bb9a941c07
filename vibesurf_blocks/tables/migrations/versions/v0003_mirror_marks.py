"""Keep how far the mirror has compared the rows with Prefect; no row tells, as others write too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

MOMENT = (
    sa.DateTime()
    .with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")
    .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
)


def upgrade() -> None:
    """Without a mark in it, the first mirror reads all of Prefect once."""
    op.create_table(
        "mirror_marks",
        sa.Column("pool", sa.String(64), primary_key=True),
        sa.Column("compared_at", MOMENT, nullable=False),
        sa.Column("task_id", sa.String(36)),
        # On MySQL each statement stands at once: a run that was killed here is taken up again.
        if_not_exists=True,
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
        mariadb_engine="InnoDB",
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_table("mirror_marks")
