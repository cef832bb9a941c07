"""The tables `tasks`, `schedules` and `llm_profiles`: models, records, stores and migrations."""

from vibesurf_blocks.tables.database import Database
from vibesurf_blocks.tables.profiles import ProfileStore
from vibesurf_blocks.tables.records import (
    ControlEntry,
    ProfileRecord,
    ScheduleRecord,
    TaskMetadata,
    TaskRecord,
)
from vibesurf_blocks.tables.schedules import ScheduleStore
from vibesurf_blocks.tables.tasks import TaskPage, TaskStore
from vibesurf_blocks.tables.upgrade import Upgraded, upgrade

__all__ = [
    "ControlEntry",
    "Database",
    "ProfileRecord",
    "ProfileStore",
    "ScheduleRecord",
    "ScheduleStore",
    "TaskMetadata",
    "TaskPage",
    "TaskRecord",
    "TaskStore",
    "Upgraded",
    "upgrade",
]
