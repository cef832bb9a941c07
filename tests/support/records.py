"""Task records for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from vibesurf_blocks.tables import TaskRecord
from vibesurf_blocks.tasks import Status

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the moment `seconds` after noon."""
    return NOON + timedelta(seconds=seconds)


def task(
    task_id: str, status: Status = Status.PENDING, second: float = 0, **more: Any
) -> TaskRecord:
    """Return a task made, and last changed, `second` seconds after noon."""
    values: dict[str, Any] = {
        "task_id": task_id,
        "session_id": "session",
        "task_description": "Read https://example.com",
        "status": status,
        "llm_profile_name": "builtin",
        "created_at": at(second),
        "updated_at": at(second),
        **({"started_at": at(second)} if status != Status.PENDING else {}),
        **({"completed_at": at(second)} if status.terminal else {}),
    }
    return TaskRecord.model_validate({**values, **more})
