"""Each state of Prefect shows as the documented status; a run of any shape gets a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Late,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    Suspended,
)

from vibesurf_blocks.mirror.rows import Names, due_at, record_of
from vibesurf_blocks.prefect_api.artifacts import Published
from vibesurf_blocks.prefect_api.states import SUSPENDED, holds_slot, status_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = Names("agent-run", "agent")

EXPECTED: list[tuple[State[Any], str, bool]] = [
    (Scheduled(), "pending", False),
    (Late(scheduled_time=NOW), "pending", False),
    (AwaitingRetry(), "pending", False),
    (Pending(), "pending", True),
    (Pending(name="Submitting"), "pending", True),
    (Running(), "running", True),
    (Retrying(), "running", True),
    (Cancelling(), "running", True),
    (Paused(), "paused", True),
    (Suspended(), "paused", False),
    (Completed(), "completed", False),
    (Failed(), "failed", False),
    (Crashed(), "failed", False),
    (Cancelled(), "stopped", False),
    (Cancelled(name="TimedOut"), "stopped", False),
]


def run(state: State[Any], **more: Any) -> FlowRun:
    """A flow run as the server would give it."""
    return FlowRun(
        id=uuid4(),
        name="run",
        flow_id=uuid4(),
        created=NOW,
        expected_start_time=NOW,
        state=state,
        **more,
    )


@pytest.mark.parametrize(
    ("state", "status", "holds"), EXPECTED, ids=[str(one[0].name) for one in EXPECTED]
)
def test_status_and_slot_of_each_state(state: State[Any], status: str, holds: bool) -> None:
    assert status_of(state) == status
    assert holds_slot(state) is holds


def test_every_state_type_has_a_status() -> None:
    assert all(status_of(State(type=one)) for one in StateType)


def test_prefects_suspension_is_told_by_its_name() -> None:
    """Prefect itself tells it from a pause by this name: this notices a change."""
    assert Suspended().name == SUSPENDED
    assert Suspended().type is StateType.PAUSED


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"session_id": 7, "task_description": None, "llm_profile_name": []},
        {"session_id": "s" * 999, "task_description": "x\x00y", "llm_profile_name": "p" * 999},
        {"mcp_server_config": {"nonsense": 1}, "agent_mode": "m" * 99},
    ],
)
def test_a_run_with_any_parameters_gets_a_row(parameters: dict[str, Any]) -> None:
    record = record_of(run(Running(), parameters=parameters), None, NAMES, "/workspace")
    assert record.session_id
    assert record.task_description
    assert record.llm_profile_name


def test_the_reason_stands_with_failed_and_stopped_only() -> None:
    for state, reason in (
        (Failed(message="why"), "why"),
        (Cancelled(message="why"), "why"),
        (Completed(message="why"), None),
        (Running(message="why"), None),
    ):
        assert record_of(run(state), None, NAMES, "/w").error_message == reason


def test_what_a_run_published_is_in_its_row() -> None:
    shown = Published(40, 2, "Read it", "# Result", "/w/s/reports/r.html")
    record = record_of(run(Running()), shown, NAMES, "/w")
    assert (record.task_result, record.report_path) == ("# Result", "/w/s/reports/r.html")
    told = record.task_metadata
    assert (told.progress, told.steps, told.active_step) == (40, 2, "Read it")


def test_a_scheduled_run_is_a_task_only_once_it_falls_due() -> None:
    later = NOW + timedelta(days=2)
    future = run(Scheduled(scheduled_time=later), next_scheduled_start_time=later)
    assert due_at(future) == later
    assert due_at(future.model_copy(update={"state": None})) == later  # just being made
    assert due_at(run(Pending())) is None
    recovered = run(AwaitingRetry(), next_scheduled_start_time=later, start_time=NOW)
    assert due_at(recovered) is None


def test_mcp_secrets_given_in_the_ui_do_not_reach_the_row() -> None:
    config = {"mcpServers": {"a": {"command": "x", "env": {"KEY": "hidden"}}}}
    record = record_of(run(Running(), parameters={"mcp_server_config": config}), None, NAMES, "/w")
    assert "hidden" not in record.model_dump_json()
