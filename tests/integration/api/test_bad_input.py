"""Bad input gets a 4xx that says what to change, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect.client.orchestration import PrefectClient

from tests.support.stack import LiveStack
from tests.support.tasks import body

KIND = "__prefect_kind"
BAD: dict[str, dict[str, object]] = {
    "empty description": {"task_description": ""},
    "blank description": {"task_description": " \n\t "},
    "5 MB description": {"task_description": "x" * 5_000_000},
    "description with NUL": {"task_description": "a\x00b"},
    "description no text": {"task_description": 7},
    "no session": {"session_id": ""},
    "session is a path": {"session_id": "../up"},
    "session with a slash": {"session_id": "a/b"},
    "session with a backslash": {"session_id": "a\\b"},
    "session is hidden": {"session_id": ".hidden"},
    "session too long": {"session_id": "s" * 256},
    "session with NUL": {"session_id": "a\x00"},
    "session with a newline": {"session_id": "a\n"},
    "unknown mode": {"agent_mode": "slow"},
    "no profile": {"llm_profile_name": None},
    "blank profile": {"llm_profile_name": " "},
    "profile too long": {"llm_profile_name": "p" * 101},
    "upload outside": {"upload_files_path": "../../../etc"},
    "upload absolute": {"upload_files_path": "/etc/passwd"},
    "upload missing": {"upload_files_path": "not-there.txt"},
    "upload with NUL": {"upload_files_path": "a\x00"},
    "mcp no object": {"mcp_server_config": "x"},
    "mcp of another form": {"mcp_server_config": {"servers": {}}},
    "mcp without command": {"mcp_server_config": {"mcpServers": {"a": {}}}},
    "mcp without a name": {"mcp_server_config": {"mcpServers": {" ": {"command": "x"}}}},
    "mcp with a blank command": {"mcp_server_config": {"mcpServers": {"a": {"command": " "}}}},
    "mcp with a variable that cannot be": {
        "mcp_server_config": {"mcpServers": {"a": {"command": "x", "env": {"A=B": "c"}}}}
    },
    "mcp with a wrong timeout": {
        "mcp_server_config": {"mcpServers": {"a": {"command": "x", "timeout": -1}}}
    },
    "mcp with a key that Prefect would fill in": {
        "mcp_server_config": {"mcpServers": {"a": {"command": "x", "env": {KIND: "json"}}}}
    },
    "mcp with a name that Prefect would fill in": {
        "mcp_server_config": {"mcpServers": {KIND: {"command": "x"}}}
    },
    "description that Prefect would not take": {"task_description": "\u00e4" * 100_000},
    "mcp that Prefect would not take": {
        "mcp_server_config": {"mcpServers": {"a": {"command": "x" * 600_000}}}
    },
    "no steps": {"max_steps": 0},
    "no time": {"timeout_seconds": -1},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
async def test_a_wrong_field_is_named_and_refused(
    api: httpx.AsyncClient, change: dict[str, object]
) -> None:
    answer = await api.post("/tasks/submit", json=body("Read http://127.0.0.1:1/") | change)
    assert answer.status_code == 422, answer.text
    [field] = change
    detail = answer.json()["detail"]
    assert any(field in one["loc"] for one in detail)
    assert all(one["msg"] for one in detail)
    assert len(answer.content) < 5_000


async def test_an_upload_that_is_a_link_out_of_the_workspace_is_refused(
    api: httpx.AsyncClient, stack: LiveStack, tmp_path: Path
) -> None:
    uploads = stack.home / "workspace" / "links" / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    (uploads / "way-out").unlink(missing_ok=True)
    (uploads / "way-out").symlink_to(tmp_path)
    task = body("Read it", session_id="links", upload_files_path="way-out")
    answer = await api.post("/tasks/submit", json=task)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "upload_files_path"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"task_description": NaN}',
        b'{"session_id": "\xff"}',
        json.dumps(body("\ud800")).encode(),
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_task_is_refused(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post(
        "/tasks/submit", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}, answer.text
    assert answer.json()["detail"]


async def test_a_body_of_30_mb_is_refused_without_being_read(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks/submit", content=b" " * 30_000_000)
    assert answer.status_code == 413
    assert "bytes" in answer.json()["detail"]


async def test_unknown_routes_and_ids_are_told_in_json(api: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/api/nothing", "/tasks/none", "/api/tasks/none"):
        answer = await api.get(path)
        assert answer.status_code == 404
        assert answer.json()["detail"]
    answer = await api.get("/tasks", params={"cursor": "nonsense"})
    assert answer.status_code == 400
    for params in ({"limit": 0}, {"limit": 501}, {"status": "lost"}):
        assert (await api.get("/tasks", params=params)).status_code == 422


async def test_nothing_that_was_refused_was_created(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    runs = await prefect.read_flow_runs(limit=200)
    rows = (await api.get("/tasks")).json()["total_count"]
    for change in BAD.values():
        await api.post("/tasks/submit", json=body("Read http://127.0.0.1:1/") | change)
    assert len(await prefect.read_flow_runs(limit=200)) == len(runs)
    assert (await api.get("/tasks")).json()["total_count"] == rows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*body(""), "upload_files_path", "mcp_server_config", "agent_mode"])


@given(st.dictionaries(FIELDS, JSON, max_size=6) | JSON)
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_body_whatever_makes_the_server_fail(live_stack: LiveStack, content: object) -> None:
    answer = httpx.post(
        f"{live_stack.api}/tasks/submit",
        content=json.dumps(content),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code < 500, answer.text
