"""A VibeSurf backend in a process of its own, and the blocks that lead tasks to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient

from tests.support import vibesurf_server
from tests.support.eventually import eventually
from tests.support.profiles import block, profile
from vibesurf_blocks.stack.ready import free_port
from vibesurf_blocks.tasks import BACKEND_BLOCK_TYPE, BACKEND_PROVIDER

SECRET = "vs-k3y-this-must-be-told-to-nobody"
_SECONDS = 20.0


class BackendServer:
    """Start, kill and start again a VibeSurf backend; move its agent and see what was asked."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._file = folder / "state.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=_SECONDS)

    async def start(self, *, forgetful: bool = False) -> None:
        """Start it; as a forgetful one it knows nothing of before."""
        if forgetful:
            self._file = self._folder / f"state-{uuid4().hex[:6]}.json"
        command = [sys.executable, "-I", "-S", vibesurf_server.__file__]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - outlives the loop that starts it
            [*command, str(self.port), str(self._file)]
        )

        async def up() -> bool:
            try:
                return (await self._http.get("/_test")).is_success
            except httpx.TransportError:
                return False

        await eventually(up, timeout=_SECONDS)

    async def kill(self) -> None:
        """SIGKILL it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait, _SECONDS)

    async def aclose(self) -> None:
        """End it for good."""
        await self.kill()
        await self._http.aclose()

    async def be(self, **state: Any) -> None:
        """Set how it behaves, and fields of its task."""
        (await self._http.post("/_test", json=state)).raise_for_status()

    async def moves(self, active_step: str, progress: float = 0) -> None:
        """Have its agent take a step."""
        shown = {"active_step": active_step, "progress": progress}
        await self.be(task={"vibesurf_status": shown})

    async def ends(self, status: str = "completed", **fields: Any) -> None:
        """Have its agent end the task."""
        await self.be(task={"status": status, **fields})

    async def state(self) -> dict[str, Any]:
        """All that it knows."""
        answer: dict[str, Any] = (await self._http.get("/_test")).json()
        return answer

    async def asked(self, operation: str) -> list[dict[str, Any]]:
        """The bodies of the requests for an operation, as far back as it remembers."""
        return [body for name, body in (await self.state())["asked"] if name == operation]

    async def until_asked(self, operation: str) -> dict[str, Any]:
        """Wait for a request; the body of the last one."""

        async def there() -> list[dict[str, Any]]:
            return await self.asked(operation)

        return (await eventually(there, timeout=_SECONDS))[-1]

    async def until_taken(self) -> dict[str, Any]:
        """Wait until it has a task; that task."""

        async def there() -> dict[str, Any] | None:
            task: dict[str, Any] | None = (await self.state())["task"]
            return task

        task = await eventually(there, timeout=_SECONDS)
        assert task is not None
        return task

    async def until(self, status: str) -> None:
        """Wait until its task has a status."""

        async def there() -> bool:
            return bool((await self.task())["status"] == status)

        await eventually(there, timeout=2 * _SECONDS)

    async def task(self) -> dict[str, Any]:
        """Its task, running or ended."""
        task = (await self.state())["task"]
        assert task is not None
        return dict(task)


@asynccontextmanager
async def backend_server(folder: Path) -> AsyncIterator[BackendServer]:
    """A backend while the block runs."""
    server = BackendServer(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


@asynccontextmanager
async def backend_profile(client: PrefectClient, name: str, **data: Any) -> AsyncIterator[UUID]:
    """A profile that hands tasks to a backend while the `async with` runs; its block's document."""
    given = {"api_key": SECRET, "poll_seconds": 0.1, "backoff_seconds": 0.1, "attempts": 3, **data}
    block_name = f"test-{uuid4().hex[:12]}"
    chosen: dict[str, Any] = {
        "provider": BACKEND_PROVIDER,
        "model": "remote-profile",
        "api_key": None,
        "provider_config": {"backend": block_name},
    }
    async with (
        block(client, BACKEND_BLOCK_TYPE, block_name, **given) as document,
        profile(client, name, **chosen),
    ):
        yield document
