"""A row of VibeSurf's becomes one that fits here; what does not fit is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import vibesurf_database as old
from vibesurf_blocks.adopt.report import Leave
from vibesurf_blocks.adopt.tasks import ALIVE, Taken, task_of
from vibesurf_blocks.tables.types import canonical_json
from vibesurf_blocks.tasks import MASK, Status

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TEN = datetime(2025, 10, 1, 10, tzinfo=UTC)
SECRET = "sk-hush"


def taken(*, ended: bool = False, now: datetime = NOW, **more: Any) -> Taken:
    return task_of(old.task(0, **more), workspace=Path("/ws"), now=now, ended=ended)


def test_a_finished_task_is_kept_as_it_is() -> None:
    found = taken(
        task_result="# Done",
        agent_mode="flash",
        created_at="2025-10-01 10:00:00.250000",
        report_path="/old/r.html",
        upload_files_path="/old/u",
        task_metadata="null",
    )
    record = found.record
    assert found.mended == ()
    assert (record.status, record.task_result, record.agent_mode) == (
        "completed",
        "# Done",
        "flash",
    )
    assert record.created_at == TEN + timedelta(milliseconds=250)
    assert (record.updated_at, record.completed_at, record.started_at) == (TEN, TEN, None)
    # Only what lies in the workspace here is shown as a path of this row.
    assert (record.workspace_dir, record.report_path, record.upload_files_path) == (
        "/ws",
        None,
        None,
    )
    adopted = record.task_metadata.adopted
    assert adopted is not None
    assert (adopted.workspace_dir, adopted.report_path) == ("/old/vibesurf", "/old/r.html")
    assert (adopted.status, adopted.upload_files_path) == ("completed", "/old/u")


@pytest.mark.parametrize("said", ["PENDING", "running", "Paused "])
def test_what_cannot_be_alive_has_failed(said: str) -> None:
    record = taken(status=said, completed_at=None, error_message="so far").record
    assert (record.status, record.completed_at) == (Status.FAILED, TEN)
    status = said.strip().lower()
    assert f"row said {status} when" in (record.error_message or "")
    assert (record.error_message or "").endswith("It had noted: so far")
    assert record.task_metadata.adopted is not None
    assert record.task_metadata.adopted.status == said


def test_what_may_be_alive_is_left_unless_vibesurf_has_ended() -> None:
    soon = TEN + ALIVE - timedelta(seconds=1)
    with pytest.raises(Leave, match="--ended"):
        taken(status="pending", now=soon)
    assert taken(status="pending", now=soon, ended=True).record.status is Status.FAILED
    assert taken(status="pending", now=TEN + ALIVE).record.status is Status.FAILED
    assert taken(status="STOPPED", now=soon).record.status is Status.STOPPED


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"task_id": None}, "no UUID"),
        ({"task_id": "x" * 36}, "no UUID"),
        ({"task_id": "{0199a000-0000-7000-8000-000000000000}"}, "no UUID"),
        ({"status": "melted"}, "'melted'"),
        ({"status": None}, "''"),
        ({"created_at": "soon", "updated_at": 5, "completed_at": ""}, "no time"),
    ],
    ids=str,
)
def test_what_cannot_be_a_row_is_left(more: dict[str, Any], why: str) -> None:
    with pytest.raises(Leave, match=why):
        taken(**more)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"status": "COMPLETED"}, "lower case"),
        ({"session_id": "../up"}, "no name for a folder"),
        ({"llm_profile_name": "x" * 101}, "more than 100"),
        ({"llm_profile_name": None}, "'unknown'"),
        ({"agent_mode": "x" * 51}, "agent_mode"),
        ({"created_at": None}, "a time is missing"),
        ({"mcp_server_config": "{"}, "mcp_server_config"),
        ({"mcp_server_config": '{"mcpServers": {"a": {"url": "http://x"}}}'}, "mcp_server_config"),
        ({"task_metadata": '{"total_actions": 3}'}, "task_metadata"),
    ],
    ids=str,
)
def test_what_is_mended_is_told(more: dict[str, Any], why: str) -> None:
    (told,) = taken(**more).mended
    assert why in told


def test_sessions_that_differ_stay_apart_and_say_what_they_were() -> None:
    names = ["../up", "..-up", "", "a b", "a/b", "ü" * 300, "a\n"]
    made = [taken(session_id=name).record for name in names]
    assert len({one.session_id for one in made}) == len(names)
    for one, name in zip(made, names, strict=True):
        assert one.session_id[0] not in ".-"
        assert one.task_metadata.adopted is not None
        assert one.task_metadata.adopted.session_id == name
    assert [taken(session_id=name).record.session_id for name in names] == [
        one.session_id for one in made
    ]


def test_no_secret_of_an_mcp_server_reaches_the_row() -> None:
    arguments = ["--api-key", SECRET, f"--token={SECRET}", f"API_KEY={SECRET}", "--root", "/tmp"]
    arguments += [f"https://me:{SECRET}@host/x?access_token={SECRET}&page=1"]
    server = {"command": "npx", "args": arguments, "env": {"TOKEN": SECRET}}
    record = taken(mcp_server_config=json.dumps({"mcpServers": {"a": server}})).record
    assert SECRET not in record.model_dump_json()
    text = canonical_json(record.mcp_server_config)
    for kept in ('"--api-key"', '"--root","/tmp"', "page=1", f"--token={MASK}", "host/x"):
        assert kept in text


ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.binary(max_size=20)


# Hypothesis itself takes seconds for its tables of characters, the first time on a machine.
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(old.task())), ANYTHING), st.booleans())
def test_any_row_is_taken_or_left(more: dict[str, Any], ended: bool) -> None:
    """SQLite keeps anything in any column."""
    try:
        found = taken(ended=ended, **more)
    except Leave:
        return
    assert found.record.status.terminal
    assert found.record.task_metadata.adopted is not None
    canonical_json(found.record.values()["task_metadata"])
