"""The door of the API as it really listens: loopback for everybody here, a token for the rest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack, clean_env
from tests.support.tasks import body, submit
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.ready import free_port, wait_ready
from vibesurf_blocks.stack.up import Stack

TOKEN = "an-api-token-for-this-test-alone"
CONNECTIONS = 20
BURST = 2
LIMITS = {
    "VIBESURF_EVENT_STREAMS": "1",
    "VIBESURF_CONNECTIONS": str(CONNECTIONS),
    "VIBESURF_RATE_BURST": str(BURST),
    "VIBESURF_RATE_LIMIT": "0.01",
}
EVIL = {"Origin": "https://evil.example"}


@pytest.fixture(scope="module")
def _guarded(live_stack: LiveStack) -> dict[str, str]:
    """A process of the API on all addresses, with a token and low limits; for all tests here."""
    port = free_port()
    live_stack.open(
        *(sys.executable, "-m", "vibesurf_blocks", "api", "--host", "0.0.0.0", "--port", str(port)),
        env={"VIBESURF_API_TOKEN": TOKEN, **LIMITS},
    )
    return {"url": f"http://127.0.0.1:{port}"}


@pytest.fixture
async def guarded(_guarded: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    await wait_ready(f"{_guarded['url']}/openapi.json", timeout=60)
    async with httpx.AsyncClient(base_url=_guarded["url"], trust_env=False) as client:
        yield client


async def test_on_other_addresses_it_wants_the_token(guarded: httpx.AsyncClient) -> None:
    for path in ("/tasks/status", "/api/tasks/status", "/tasks", "/llm-profiles", "/schedule"):
        answer = await guarded.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        told = await guarded.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        assert told.status_code == 200, path
    assert (await guarded.post("/tasks/submit", json=body("Read it"))).status_code == 401


async def test_the_command_line_sends_the_token(
    guarded: httpx.AsyncClient, live_stack: LiveStack
) -> None:
    def listed(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vibesurf_blocks", "tasks", "list"],
            env={**live_stack.env, "VIBESURF_API_URL": str(guarded.base_url), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    without, with_it = await asyncio.gather(
        asyncio.to_thread(listed), asyncio.to_thread(listed, VIBESURF_API_TOKEN=TOKEN)
    )
    assert without.returncode == 2
    assert "VIBESURF_API_TOKEN" in without.stderr
    assert with_it.returncode == 0, with_it.stderr


def test_without_a_token_it_listens_on_loopback_only() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "vibesurf_blocks", "api", "--host", "0.0.0.0"],
        env=clean_env(PREFECT_API_URL="http://127.0.0.1:1/api"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 2, process.stderr
    assert "VIBESURF_API_TOKEN" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("setting", "missing"),
    [
        ({"host": "0.0.0.0"}, "VIBESURF_API_TOKEN"),
        ({"host": "::"}, "VIBESURF_API_TOKEN"),
        ({"prefect_host": "0.0.0.0"}, "PREFECT_SERVER_API_AUTH_STRING"),
    ],
)
async def test_the_stack_opens_no_door_to_everybody(
    setting: dict[str, str],
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    settings = Settings.model_validate({"home": tmp_path / "home", **setting})
    with pytest.raises(StackError, match=missing):
        async with Stack(settings, lambda _: None).running():
            pass
    assert not (tmp_path / "home").exists()


async def test_a_page_elsewhere_can_do_nothing(
    api: httpx.AsyncClient, prefect: PrefectClient, stack: LiveStack
) -> None:
    """Neither with the kinds of request that a browser sends without asking, nor by asking."""
    runs = await prefect.read_flow_runs(limit=200)
    rows = (await api.get("/tasks")).json()["total_count"]
    task = body("Read http://127.0.0.1:1/")
    plain = {"Content-Type": "text/plain"}
    answers = [
        await api.post("/tasks/submit", json=task, headers=EVIL),
        await api.post("/tasks/stop", headers=EVIL),
        await api.post("/tasks/stop", headers={"Sec-Fetch-Site": "cross-site"}),
        await api.post("/tasks/submit", json=task, headers={"Origin": "null"}),
        await api.post("/tasks/submit", json=task, headers={"Host": "rebound.example"}),
        await api.options(
            "/tasks/submit", headers={**EVIL, "Access-Control-Request-Method": "POST"}
        ),
    ]
    assert [one.status_code for one in answers] == [403] * 6
    assert not any("access-control-allow-origin" in one.headers for one in answers)
    # A form, had the browser not told where it comes from.
    assert (await api.post("/tasks/submit", json=task, headers=plain)).status_code == 415
    assert (await api.post("/tasks/submit", data={"task_description": "x"})).status_code == 415
    # Prefect's own server, which any page could use otherwise.
    async with httpx.AsyncClient(base_url=stack.prefect_api, trust_env=False) as server:
        for headers in (EVIL, {"Host": "rebound.example"}):
            answer = await server.post("/flow_runs/filter", json={}, headers=headers)
            assert answer.status_code == 403
        assert (await server.post("/flow_runs/filter", json={})).status_code == 200
    assert len(await prefect.read_flow_runs(limit=200)) == len(runs)
    assert (await api.get("/tasks")).json()["total_count"] == rows


async def test_streams_of_events_are_limited(
    api: httpx.AsyncClient, guarded: httpx.AsyncClient, site: Site
) -> None:
    """The guarded API has room for one."""
    page = site.held("/page")
    path = f"/tasks/{await submit(api, f'Read {page.url}')}/events"
    guarded.headers["Authorization"] = f"Bearer {TOKEN}"
    async with guarded.stream("GET", path, timeout=30) as first:
        assert first.status_code == 200
        refused = await guarded.get(path)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"]
        assert "VIBESURF_EVENT_STREAMS" in refused.json()["detail"]

    async def room() -> bool:
        async with guarded.stream("GET", path, timeout=30) as again:
            return again.status_code == 200

    await eventually(room, timeout=30)


async def test_changes_of_one_client_are_limited(guarded: httpx.AsyncClient) -> None:
    guarded.headers["Authorization"] = f"Bearer {TOKEN}"
    answers = [await guarded.post("/tasks/submit", json={}) for _ in range(BURST + 1)]
    assert [one.status_code for one in answers] == [422] * BURST + [429]
    assert answers[-1].headers["Retry-After"]
    assert (await guarded.get("/tasks/status")).status_code == 200


async def test_connections_and_their_heads_are_limited(guarded: httpx.AsyncClient) -> None:
    host, port = guarded.base_url.host, guarded.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 80_000 + b"\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
    writer.close()

    taken = [await asyncio.open_connection(host, port) for _ in range(CONNECTIONS + 1)]
    try:
        told, _ = taken[-1]
        assert (await told.readline()).startswith(b"HTTP/1.1 503 ")
    finally:
        for _, one in taken:
            one.close()

    async def room() -> bool:
        return (await guarded.get("/health")).status_code == 200

    await eventually(room, timeout=30)


async def test_the_openapi_document_tells_of_the_door(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path in document["paths"].values():
        for method, operation in path.items():
            wanted = {"401", "403"} | ({"413", "415", "429"} if method != "get" else set())
            assert wanted <= operation["responses"].keys()
