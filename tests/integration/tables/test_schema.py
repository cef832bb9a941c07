"""The tables are those of the contract, by name, column, type and index."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    MetaData,
    String,
    Text,
    inspect,
    text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskStore
from vibesurf_blocks.tables.counts import COUNTS
from vibesurf_blocks.tables.marks import MARKS
from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.upgrade import VERSION_TABLE

COLUMNS = {
    "tasks": {
        "task_id": "varchar(36)",
        "session_id": "varchar(255)",
        "task_description": "text",
        "status": "varchar(16)",
        "llm_profile_name": "varchar(100)",
        "upload_files_path": "varchar(500)?",
        "workspace_dir": "varchar(500)?",
        "mcp_server_config": "text?",
        "agent_mode": "varchar(50)",
        "task_result": "text?",
        "error_message": "text?",
        "report_path": "varchar(500)?",
        "created_at": "time",
        "updated_at": "time",
        "started_at": "time?",
        "completed_at": "time?",
        "task_metadata": "json",
    },
    "schedules": {
        "id": "varchar(36)",
        "flow_id": "varchar(255)",
        "cron_expression": "varchar(100)?",
        "is_enabled": "boolean",
        "description": "text?",
        "last_execution_at": "time?",
        "next_execution_at": "time?",
        "execution_count": "bigint",
        "created_at": "time",
        "updated_at": "time",
    },
    "llm_profiles": {
        "profile_id": "varchar(36)",
        "profile_name": "varchar(100)",
        "provider": "varchar(255)",
        "model": "varchar(255)",
        "base_url": "varchar(500)?",
        "encrypted_api_key": "text?",
        "temperature": "json?",
        "max_tokens": "json?",
        "top_p": "json?",
        "frequency_penalty": "json?",
        "seed": "json?",
        "provider_config": "json?",
        "description": "text?",
        "is_active": "boolean",
        "is_default": "boolean",
        "created_at": "time",
        "updated_at": "time",
        "last_used_at": "time?",
    },
}
INDEXES = {
    "tasks": {
        "idx_tasks_status": "status",
        "idx_tasks_session": "session_id",
        "idx_tasks_llm_profile": "llm_profile_name",
        "idx_tasks_created": "created_at",
        "idx_tasks_completed": "completed_at",
        "idx_tasks_updated": "updated_at",
    },
    "schedules": {
        "idx_schedules_flow_id": "flow_id",
        "idx_schedules_enabled": "is_enabled",
        "idx_schedules_next_execution": "next_execution_at",
        "idx_schedules_cron": "cron_expression",
    },
    "llm_profiles": {},
}


def _word(column_type: TypeEngine[Any], dialect: str) -> str:
    """The contract's word for a type, having checked what it must be on this database."""
    match column_type:
        case String(length=int(length)) if not isinstance(column_type, Text | mysql.LONGTEXT):
            return f"varchar({length})"
        case mysql.LONGTEXT() | Text():
            assert dialect != "mysql" or isinstance(column_type, mysql.LONGTEXT)
            return "text"
        case JSON():
            return "json"
        case Boolean() | mysql.TINYINT(display_width=1):
            return "boolean"
        case BigInteger():
            return "bigint"
        case postgresql.TIMESTAMP():
            assert column_type.timezone
            return "time"
        case mysql.DATETIME():
            assert column_type.fsp == 6
            return "time"
        case DateTime():
            assert dialect == "sqlite"
            return "time"
    return repr(column_type)


async def test_tables_are_those_of_the_contract(database: Database) -> None:
    def look(connection: Connection) -> None:
        found = inspect(connection)
        kept = set() if database.dialect == "mysql" else {COUNTS.name}
        assert set(found.get_table_names()) == {*COLUMNS, MARKS.name, VERSION_TABLE} | kept
        for table, columns in COLUMNS.items():
            words = {
                column["name"]: _word(column["type"], database.dialect)
                + ("?" if column["nullable"] else "")
                for column in found.get_columns(table)
            }
            if database.dialect == "mysql":  # MariaDB calls JSON a LONGTEXT with a check
                words = {
                    name: word.replace("text", "json") if "json" in columns[name] else word
                    for name, word in words.items()
                }
            assert words == columns
            indexes = {
                index["name"]: index["column_names"][0]
                for index in found.get_indexes(table)
                if not str(index["name"]).startswith("uq_")
            }
            assert indexes == INDEXES[table]
            assert found.get_pk_constraint(table)["constrained_columns"] == [next(iter(columns))]

    async with database.read() as connection:
        await connection.run_sync(look)


async def test_migrations_make_what_the_models_say(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        known = MetaData()
        for table in Base.metadata.tables.values():
            table.to_metadata(known)
        MARKS.to_metadata(known)
        if database.dialect != "mysql":
            COUNTS.to_metadata(known)
        return list(compare_metadata(context, known))

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_database_refuses_what_the_contract_excludes(
    database: Database, store: TaskStore
) -> None:
    await store.upsert([task("a")])
    with pytest.raises(DBAPIError):
        async with database.write() as connection:
            await connection.execute(text("UPDATE tasks SET status = 'Running'"))
    insert = text(
        "INSERT INTO schedules (id, flow_id, is_enabled, created_at, updated_at) "
        "VALUES (:id, 'flow', true, '2026-03-01 00:00:00', '2026-03-01 00:00:00')"
    )
    async with database.write() as connection:
        await connection.execute(insert, {"id": "1"})
        row = (await connection.execute(text("SELECT * FROM schedules"))).mappings().one()
        assert row["execution_count"] == 0
    with pytest.raises(DBAPIError):
        async with database.write() as connection:
            await connection.execute(insert, {"id": "2"})
