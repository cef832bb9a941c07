"""A row of `tasks` from one of VibeSurf's: what fits is kept, the rest is mended or left out."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pydantic import JsonValue

from vibesurf_blocks.adopt.report import Leave
from vibesurf_blocks.adopt.values import json_value, moment, text
from vibesurf_blocks.mirror.rows import shown_mcp
from vibesurf_blocks.secrecy import names_secret
from vibesurf_blocks.tables.records import Adopted, TaskMetadata, TaskRecord
from vibesurf_blocks.tasks import MASK, PROFILE_NAME_LIMIT, SESSION_PATTERN, Status

if TYPE_CHECKING:
    from pathlib import Path

    from vibesurf_blocks.adopt.source import Row

ALIVE: Final = timedelta(hours=24)
"""How long after its last change an unfinished row may still be one that VibeSurf works on."""

UNFINISHED_WHY: Final = "said {status}, which it cannot be any more: failed"
UNFINISHED_MESSAGE: Final = (
    "VibeSurf's row said {status} when its database was taken over: whatever ran the task had "
    "ended without saying so."
)
UNKNOWN_PROFILE: Final = "unknown"
"""Stands for the profile of a task whose row names none."""

_ID_LIMIT: Final = 36
_MODE_LIMIT: Final = 50
_PATH_LIMIT: Final = 1_000
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SESSION: Final = re.compile(SESSION_PATTERN)
_OPTION: Final = re.compile(r"^(?P<name>--?[A-Za-z][\w-]*)(?P<value>=.+)?$")
_ASSIGNED: Final = re.compile(r"^(?P<name>[A-Za-z_]\w*)=.+$")
_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY: Final = re.compile(r"([?&])([^=&\s]+)=([^&\s]+)")


@dataclass(frozen=True, slots=True)
class Taken:
    """A task as it is to be here.

    Attributes:
        record: Its row, which shows no report yet.
        mended: What had to be changed, for a person.
        report: Where VibeSurf left its report, if it made one.
        workspace: The workspace VibeSurf had then.
    """

    record: TaskRecord
    mended: tuple[str, ...]
    report: str | None
    workspace: str | None


def task_of(row: Row, *, workspace: Path, now: datetime, ended: bool) -> Taken:
    """The task of one of VibeSurf's rows.

    Args:
        row: The row; older versions lack columns.
        workspace: The workspace here.
        now: By which time an unfinished row is judged.
        ended: Whether VibeSurf runs no more, so that no unfinished task can be alive.

    Raises:
        Leave: It cannot be a row here, or may not have ended.
    """
    mended: list[str] = []
    task_id = text(row.get("task_id"))
    if task_id is None or len(task_id) > _ID_LIMIT or not _is_uuid(task_id):
        msg = "has no UUID for an id, as every task has: nothing could ask for it"
        raise Leave(msg)
    times = {
        name: moment(row.get(f"{name}_at"))
        for name in ("created", "updated", "started", "completed")
    }
    created, updated = _spine(times, mended)
    said = text(row.get("status")) or ""
    status = _status(said, mended)
    error = text(row.get("error_message"))
    if not status.terminal:
        if not ended and now - updated < ALIVE:
            msg = (
                f"is {status} and was changed within the last {ALIVE / timedelta(hours=1):.0f} "
                "hours: VibeSurf may be at work on it. Stop VibeSurf and use --ended, or take it "
                "over later"
            )
            raise Leave(msg)
        mended.append(UNFINISHED_WHY.format(status=status))
        message = UNFINISHED_MESSAGE.format(status=status)
        error = f"{message} It had noted: {error}" if error else message
        status = Status.FAILED
    session = text(row.get("session_id")) or ""
    report, before = text(row.get("report_path")), text(row.get("workspace_dir"))
    uploads = text(row.get("upload_files_path"))
    metadata = TaskMetadata(
        progress=100 if status is Status.COMPLETED else 0,
        adopted=Adopted(
            status=said,
            session_id=None if _SESSION.fullmatch(session) else session,
            workspace_dir=before and before[:_PATH_LIMIT],
            report_path=report and report[:_PATH_LIMIT],
            upload_files_path=uploads and uploads[:_PATH_LIMIT],
        ),
    )
    if _empty(row.get("task_metadata")) is False:
        mended.append("its task_metadata is of no known form: left out")
    record = TaskRecord(
        task_id=task_id,
        session_id=_session(session, mended),
        task_description=text(row.get("task_description")) or "",
        status=status,
        llm_profile_name=_profile(row, mended),
        workspace_dir=str(workspace),
        mcp_server_config=_mcp(row.get("mcp_server_config"), mended),
        agent_mode=_mode(row, mended),
        task_result=text(row.get("task_result")),
        error_message=error,
        created_at=created,
        updated_at=updated,
        started_at=times["started"],
        completed_at=times["completed"] or updated,
        task_metadata=metadata,
    )
    return Taken(record, tuple(mended), report, before)


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def _spine(times: dict[str, datetime | None], mended: list[str]) -> tuple[datetime, datetime]:
    """When the row was made and last changed: every row here says that."""
    known = [one for one in times.values() if one is not None]
    if not known:
        msg = "says no time at which anything happened: it has no place among the others"
        raise Leave(msg)
    if times["created"] is None or times["updated"] is None:
        mended.append("a time is missing or none: another of the row's stands for it")
    return times["created"] or min(known), times["updated"] or max(known)


def _status(said: str, mended: list[str]) -> Status:
    try:
        status = Status(said.strip().lower())
    except ValueError:
        msg = f"has a status that VibeSurf does not know: {said[:30]!r}"
        raise Leave(msg) from None
    if said != status:
        mended.append("its status was not in lower case")
    return status


def _session(session: str, mended: list[str]) -> str:
    """A session that names a folder; two that differ never become one."""
    if _SESSION.fullmatch(session):
        return session
    mended.append("its session is no name for a folder: one was made of it")
    slug = _NOT_OF_A_NAME.sub("-", session).strip(".-")[:200]
    digest = hashlib.sha256(session.encode()).hexdigest()[:12]
    return f"{slug}-{digest}" if slug else f"session-{digest}"


def _profile(row: Row, mended: list[str]) -> str:
    name = text(row.get("llm_profile_name"))
    if name is None:
        mended.append(f"names no LLM profile: {UNKNOWN_PROFILE!r} stands for it")
        return UNKNOWN_PROFILE
    if len(name) > PROFILE_NAME_LIMIT:
        mended.append(f"its LLM profile has a name of more than {PROFILE_NAME_LIMIT}: cut")
    return name[:PROFILE_NAME_LIMIT]


def _mode(row: Row, mended: list[str]) -> str:
    mode = text(row.get("agent_mode"))
    if mode is not None and len(mode) > _MODE_LIMIT:
        mended.append("its agent_mode is none: 'thinking' stands for it")
        return "thinking"
    # Older versions had no such column, and agents that were thinking.
    return mode or "thinking"


def _mcp(value: object, mended: list[str]) -> dict[str, JsonValue] | None:
    if _empty(value):
        return None
    try:
        config = shown_mcp(json_value(value))
    except ValueError:
        config = None
    if config is None:
        mended.append("its mcp_server_config is of no form that is known here: left out")
        return None
    servers = config["mcpServers"]
    assert isinstance(servers, dict)  # noqa: S101 - as the schema has it
    for server in servers.values():
        if isinstance(server, dict) and isinstance(server["args"], list):
            server["args"] = [*_without_secrets([str(one) for one in server["args"]])]
    return config


def _without_secrets(arguments: list[str]) -> list[str]:
    """The arguments of a program with what looks like a secret masked."""
    shown: list[str] = []
    secret = False
    for one in arguments:
        option = _OPTION.match(one)
        if secret and option is None:
            shown.append(MASK)
            secret = False
            continue
        named = option or _ASSIGNED.match(one)
        secret = named is not None and names_secret(named["name"])
        if named is not None and secret and "=" in one:
            shown.append(f"{named['name']}={MASK}")
            secret = False
            continue
        plain = _IN_URL.sub(f"{MASK}@", one)
        shown.append(_QUERY.sub(_query, plain))
    return shown


def _query(part: re.Match[str]) -> str:
    sign, name, value = part.groups()
    return f"{sign}{name}={MASK if names_secret(name) else value}"


def _empty(value: object) -> bool:
    """Whether a column of JSON says nothing."""
    try:
        return json_value(value) in (None, {}, [], "")
    except (ValueError, RecursionError, json.JSONDecodeError):
        return False
