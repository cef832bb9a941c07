"""Databases as VibeSurf's versions leave them, and one that holds anything at all."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

OLDEST: Final = 0
"""Made before there were versions: statuses in upper case, no agent mode, no schedules."""
MIDDLE: Final = 3
NEWEST: Final = 8

DAY: Final = "2025-10-01"
"""The day on which all happened."""

_TEXTS: Final = {
    "tasks": "session_id task_description status llm_profile_name upload_files_path workspace_dir "
    "mcp_server_config task_result error_message report_path created_at updated_at started_at "
    "completed_at task_metadata",
    "llm_profiles": "profile_name provider model base_url encrypted_api_key temperature max_tokens "
    "top_p frequency_penalty seed provider_config description is_active is_default created_at "
    "updated_at last_used_at",
    "schedules": "flow_id cron_expression is_enabled description last_execution_at "
    "next_execution_at execution_count created_at updated_at",
}
_KEYS: Final = {"tasks": "task_id", "llm_profiles": "profile_id", "schedules": "id"}
_KINDS: Final = {"is_active": "BOOLEAN", "is_default": "BOOLEAN", "is_enabled": "BOOLEAN"}


def make(path: Path, version: int = NEWEST, *, more: str = "") -> Path:
    """Make an empty database of a version; `more` is SQL that is run after it."""
    with sqlite3.connect(path) as connection:
        for table in ("tasks", "llm_profiles", *(["schedules"] if version >= 7 else [])):
            columns = [f"{_KEYS[table]} VARCHAR(36) NOT NULL PRIMARY KEY"]
            columns += [f"{one} {_KINDS.get(one, 'TEXT')}" for one in _TEXTS[table].split()]
            connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        if version >= 2:
            connection.execute("ALTER TABLE tasks ADD COLUMN agent_mode VARCHAR(50)")
        if version >= 4:
            connection.execute("CREATE TABLE mcp_profiles (mcp_id VARCHAR(36) PRIMARY KEY)")
        connection.executescript(more)
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    return path


def task(number: int = 0, status: str = "completed", **more: Any) -> dict[str, Any]:
    """A row of a task of VibeSurf's."""
    moment = f"{DAY} 10:{number // 60 % 60:02}:{number % 60:02}"
    return {
        "task_id": f"0199a000-0000-7000-8000-{number:012}",
        "session_id": f"session-{number % 3}",
        "task_description": f"Task {number}",
        "status": status,
        "llm_profile_name": "main",
        "workspace_dir": "/old/vibesurf",
        "mcp_server_config": '{"mcpServers": {}}',
        "created_at": moment,
        "updated_at": moment,
        "completed_at": moment,
        **more,
    }


def profile(name: str = "main", **more: Any) -> dict[str, Any]:
    """A row of an LLM profile of VibeSurf's."""
    return {
        "profile_id": f"id-of-{name}"[:36],
        "profile_name": name,
        "provider": "openai_compatible",
        "model": "m-1",
        "base_url": "http://127.0.0.1:1/v1",
        "temperature": "0.7",
        "max_tokens": "null",
        "is_active": 1,
        "is_default": 0,
        **more,
    }


def schedule(flow_id: str, **more: Any) -> dict[str, Any]:
    """A row of a schedule of VibeSurf's."""
    return {
        "id": f"id-{flow_id}"[:36],
        "flow_id": flow_id,
        "cron_expression": "00 08 * * *",
        "is_enabled": 1,
        "execution_count": 0,
        **more,
    }


def fill(path: Path, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows, each with the columns it names."""
    connection = sqlite3.connect(path)
    with connection:
        for row in rows:
            places = ", ".join("?" for _ in row)
            connection.execute(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values())
            )
    connection.close()


def seen(folder: Path) -> dict[str, str]:
    """Every file of a folder with the digest of what it holds, memory that is shared apart."""
    return {
        one.name: "" if one.name.endswith("-shm") else hashlib.sha256(one.read_bytes()).hexdigest()
        for one in folder.iterdir()
    }
