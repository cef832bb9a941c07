"""The three tables as SQLAlchemy models: names, columns, types and indexes, and nothing else."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import JSON, BigInteger, Boolean, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from vibesurf_blocks.tables.types import LARGE_TEXT, STATUS, JsonObject, JSONText, UTCTime
from vibesurf_blocks.tasks import Status

MYSQL_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    # Names that differ in case alone are different names, as on the other databases.
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


class Base(DeclarativeBase):
    """What the three models share: their metadata and column types."""

    metadata = MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s"})
    type_annotation_map = {datetime: UTCTime()}  # noqa: RUF012 - SQLAlchemy's own form


class TaskRow(Base):
    """One task: one Prefect flow run, by whose id it goes.

    Each index begins with the column it is named for; the columns after it give the order of a
    page, so that a filtered page needs no sort however many rows the filter lets through.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        Index("idx_tasks_status", "status", "created_at", "task_id"),
        Index("idx_tasks_session", "session_id", "created_at", "task_id"),
        Index("idx_tasks_llm_profile", "llm_profile_name", "created_at", "task_id"),
        Index("idx_tasks_created", "created_at", "task_id"),
        Index("idx_tasks_completed", "completed_at", "task_id"),
        Index("idx_tasks_updated", "updated_at"),
        MYSQL_OPTIONS,
    )

    task_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(255))
    task_description: Mapped[str] = mapped_column(LARGE_TEXT)
    status: Mapped[Status] = mapped_column(
        STATUS, default=Status.PENDING, server_default=Status.PENDING.value
    )
    llm_profile_name: Mapped[str] = mapped_column(String(100))
    upload_files_path: Mapped[str | None] = mapped_column(String(500))
    workspace_dir: Mapped[str | None] = mapped_column(String(500))
    mcp_server_config: Mapped[JsonObject | None] = mapped_column(JSONText)
    agent_mode: Mapped[str] = mapped_column(
        String(50), default="thinking", server_default="thinking"
    )
    task_result: Mapped[str | None] = mapped_column(LARGE_TEXT)
    error_message: Mapped[str | None] = mapped_column(LARGE_TEXT)
    report_path: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    task_metadata: Mapped[JsonObject] = mapped_column(JSON, default=dict)


class ScheduleRow(Base):
    """One schedule: the cron schedule of one Prefect deployment."""

    __tablename__ = "schedules"
    __table_args__ = (
        Index("idx_schedules_flow_id", "flow_id", unique=True),
        Index("idx_schedules_enabled", "is_enabled"),
        Index("idx_schedules_next_execution", "next_execution_at"),
        Index("idx_schedules_cron", "cron_expression"),
        MYSQL_OPTIONS,
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    flow_id: Mapped[str] = mapped_column(String(255))
    cron_expression: Mapped[str | None] = mapped_column(String(100))
    is_enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    description: Mapped[str | None] = mapped_column(LARGE_TEXT)
    last_execution_at: Mapped[datetime | None]
    next_execution_at: Mapped[datetime | None]
    execution_count: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LLMProfileRow(Base):
    """One LLM profile, without its key: `encrypted_api_key` names the Prefect block that has it."""

    __tablename__ = "llm_profiles"
    __table_args__ = (
        UniqueConstraint("profile_name", name="uq_llm_profiles_profile_name"),
        MYSQL_OPTIONS,
    )

    profile_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    profile_name: Mapped[str] = mapped_column(String(100))
    provider: Mapped[str] = mapped_column(String(255))
    model: Mapped[str] = mapped_column(String(255))
    base_url: Mapped[str | None] = mapped_column(String(500))
    encrypted_api_key: Mapped[str | None] = mapped_column(LARGE_TEXT)
    temperature: Mapped[JsonValue] = mapped_column(JSON(none_as_null=True), nullable=True)
    max_tokens: Mapped[JsonValue] = mapped_column(JSON(none_as_null=True), nullable=True)
    top_p: Mapped[JsonValue] = mapped_column(JSON(none_as_null=True), nullable=True)
    frequency_penalty: Mapped[JsonValue] = mapped_column(JSON(none_as_null=True), nullable=True)
    seed: Mapped[JsonValue] = mapped_column(JSON(none_as_null=True), nullable=True)
    provider_config: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))
    description: Mapped[str | None] = mapped_column(LARGE_TEXT)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    is_default: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
