"""Derives a row of `tasks` from a flow run and what it published; nothing else goes into it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from vibesurf_blocks.prefect_api.artifacts import Published
from vibesurf_blocks.prefect_api.labels import PARENT, PROFILE, RECOVERIES, count_of
from vibesurf_blocks.prefect_api.queues import priority_of
from vibesurf_blocks.prefect_api.states import is_suspended, status_of
from vibesurf_blocks.tables.records import TaskMetadata, TaskRecord
from vibesurf_blocks.tasks import BUILTIN_PROFILE, PROFILE_NAME_LIMIT, McpServerConfig, Status

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from pydantic import JsonValue

_PATH = 500
"""Characters of a path that the table has room for."""

_EXPLAINED = {Status.FAILED, Status.STOPPED}


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the things a run belongs to, which the run itself only has ids of."""

    flow: str
    deployment: str | None


def due_at(run: FlowRun) -> datetime | None:
    """When a scheduled run falls due (UTC); None for a run that is due or has begun."""
    if run.start_time is not None or (run.state is not None and not run.state.is_scheduled()):
        return None
    # A run that Prefect is just making has no state yet; when it is due it says all the same.
    return run.next_scheduled_start_time or run.expected_start_time


def record_of(
    run: FlowRun, published: Published | None, names: Names, workspace_dir: str
) -> TaskRecord:
    """The row of a run. Takes any run, whatever its parameters: none may be left without a row."""
    status = status_of(run.state)
    shown = published or Published()
    parameters = run.parameters
    created = run.created
    assert created is not None  # noqa: S101 - the server sets it
    expected = run.expected_start_time
    final = run.state is not None and run.state.is_final()
    return TaskRecord(
        task_id=str(run.id),
        session_id=_text(parameters.get("session_id"), 255) or _session_for(names.flow),
        task_description=_text(parameters.get("task_description"))
        or f"{names.flow}/{names.deployment or run.name}",
        status=status,
        llm_profile_name=profile_name(run),
        upload_files_path=_text(parameters.get("upload_files_path"), 500),
        workspace_dir=workspace_dir,
        mcp_server_config=shown_mcp(parameters.get("mcp_server_config")),
        agent_mode=_text(parameters.get("agent_mode"), 50) or "thinking",
        task_result=shown.result,
        error_message=(run.state.message if run.state and status in _EXPLAINED else None),
        # A path that is cut leads nowhere.
        report_path=shown.report_path if len(shown.report_path or "") <= _PATH else None,
        # Prefect makes the runs of a schedule days ahead: a task begins when it falls due.
        created_at=max(created, expected) if expected is not None else created,
        updated_at=run.state.timestamp if run.state is not None else created,
        # Prefect gives a run that ended without ever running its end for a start.
        started_at=run.start_time if run.run_count else None,
        completed_at=run.end_time if final else None,
        task_metadata=TaskMetadata(
            progress=100 if status is Status.COMPLETED else shown.progress,
            active_step=shown.active_step,
            steps=shown.step,
            suspended=is_suspended(run.state),
            recoveries=count_of(run.labels, RECOVERIES),
            flow=names.flow,
            deployment_id=str(run.deployment_id) if run.deployment_id else None,
            deployment=f"{names.flow}/{names.deployment}" if names.deployment else None,
            parent_task_id=_text(run.labels.get(PARENT), 36),
            priority=priority_of(run.work_queue_name),
            due_at=run.next_scheduled_start_time or expected,
            scheduled_for=expected if run.auto_scheduled else None,
            usage=shown.usage,
            history=shown.history,
        ),
    )


def profile_name(run: FlowRun) -> str:
    """The profile that a run uses: the one its task names, or the one it was given instead.

    A run that names none has none before it starts: until then it counts as the reader's.
    """
    named = _text(run.parameters.get("llm_profile_name"), PROFILE_NAME_LIMIT)
    return named or _text(run.labels.get(PROFILE), PROFILE_NAME_LIMIT) or BUILTIN_PROFILE


def _text(value: object, limit: int | None = None) -> str | None:
    return value[:limit] if isinstance(value, str) and value else None


def _session_for(flow: str) -> str:
    return "flow-" + re.sub(r"[^A-Za-z0-9._-]+", "-", flow)[:250]


def shown_mcp(value: object) -> dict[str, JsonValue] | None:
    """MCP servers as a row shows them, without their secrets; None for what is no such thing."""
    try:
        config = McpServerConfig.model_validate(value)
    except ValidationError:
        return None
    dumped: dict[str, JsonValue] = config.without_secrets().model_dump(mode="json", by_alias=True)
    return dumped
