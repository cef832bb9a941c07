"""A whole stack, started as its users start it, on free ports and in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State

from tests.support.eventually import eventually
from vibesurf_blocks.stack.ready import free_port

Database = Literal["postgres", "sqlite"]

_UP = "from vibesurf_blocks.cli import main; main()"
_READY_SECONDS = 120.0
_RUN_SECONDS = 120.0
_ENDED = {"completed", "failed", "stopped"}


class Stack:
    """`vibesurf-blocks up`: start it, stop it, start it again; what it wrote stays meanwhile."""

    def __init__(self, folder: Path, database: Database, tables_url: str | None = None) -> None:
        self.home = folder / "home"
        self.temp = folder / "tmp"
        self.temp.mkdir(parents=True)
        self.port, self.prefect_port = free_port(), free_port()
        self.database: Database = database
        self.tables_url = tables_url or f"sqlite:///{self.tables}"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._log = folder / "stack.log"
        self.http = httpx.AsyncClient(base_url=self.api_url, trust_env=False, timeout=30)
        self.prefect = PrefectClient(api=self.prefect_api_url)

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def prefect_api_url(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def tables(self) -> Path:
        return self.home / "vibesurf.db"

    @property
    def env(self) -> dict[str, str]:
        """The environment of the stack and of what stands beside it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "VIBESURF"))}
        return kept | {
            "TMPDIR": str(self.temp),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }

    async def start(self) -> float:
        """Start it; the seconds until it said that it is ready."""
        env = self.env | {
            "VIBESURF_HOME": str(self.home),
            "VIBESURF_PORT": str(self.port),
            "VIBESURF_PREFECT_PORT": str(self.prefect_port),
            "VIBESURF_PREFECT_DATABASE": self.database,
            "VIBESURF_DATABASE_URL": self.tables_url,
        }
        begun = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-u", "-c", _UP, "up"),
                env=env,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(_READY_SECONDS):
            while line := await self._process.stdout.readline():
                if line.startswith(b"Ready"):
                    break
            else:
                msg = f"The stack did not start: {self._log.read_text()[-2000:]}"
                raise RuntimeError(msg)
        took = time.perf_counter() - begun
        self._reading = asyncio.create_task(_drain(self._process.stdout))
        return took

    async def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    def processes(self) -> list[psutil.Process]:
        """Every process of the stack, PostgreSQL's included."""
        assert self._process is not None
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def row(self, run_id: str | UUID) -> Mapping[str, Any] | None:
        """The row of a task, read straight from the file."""
        address = f"file:{self.tables}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM tasks WHERE task_id = ?", (str(run_id),))
            row = found.fetchone()
            return dict(row) if row is not None else None

    async def submit(self, task: str, session: str = "bench") -> UUID:
        """Submit a task through the API."""
        body = {"session_id": session, "task_description": task, "llm_profile_name": "builtin"}
        answer = await self.http.post("/tasks/submit", json=body)
        told = answer.json()
        if not answer.is_success or not told["success"]:
            msg = f"Not accepted: {told}"
            raise RuntimeError(msg)
        return UUID(told["task_id"])

    async def create(self, task: str, session: str = "bench") -> UUID:
        """Create a run of the standing deployment, which waits for the slot."""
        deployment = await self.prefect.read_deployment_by_name("agent-run/agent")
        run = await self.prefect.create_flow_run_from_deployment(
            deployment.id, parameters={"task_description": task, "session_id": session}
        )
        return run.id

    async def ended(self, run_id: UUID) -> FlowRun:
        """Wait until a run has ended and its process is gone; the run.

        Watches the row, which costs the Prefect server nothing.
        """

        async def status() -> bool:
            row = self.row(run_id)
            return row is not None and row["status"] in _ENDED

        await eventually(status, timeout=_RUN_SECONDS, pause=0.01)
        run = await self.prefect.read_flow_run(run_id)
        if run.infrastructure_pid is not None:
            await gone(int(run.infrastructure_pid))
        return run

    async def has_begun(self, run_id: UUID) -> FlowRun:
        """Wait until the row of a run is running, and the run knows its process."""

        async def running() -> FlowRun | None:
            row = self.row(run_id)
            if row is None or row["status"] != "running":
                return None
            run = await self.prefect.read_flow_run(run_id)
            return run if run.infrastructure_pid is not None else None

        run = await eventually(running, timeout=_RUN_SECONDS, pause=0.02)
        assert run is not None
        return run

    async def states(self, run_id: UUID) -> list[State[Any]]:
        """Every state a run has had, in order."""
        return await self.prefect.read_flow_run_states(run_id)

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        await self.prefect.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.prefect.__aexit__(None, None, None)
        await self.http.__aexit__()
        await self.stop()


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vibesurf-bench-"))
    folder.chmod(0o755)  # PostgreSQL's own user passes through
    return folder


@asynccontextmanager
async def new_stack(database: Database, tables_url: str | None = None) -> AsyncIterator[Stack]:
    """A stack that is not started yet, in a folder that goes with the block."""
    folder = _new_folder()
    try:
        async with Stack(folder, database, tables_url) as stack:
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Use:
    """What some processes use.

    Attributes:
        memory: Proportional set size, MB.
        processes: How many there are.
        files: Open files, without PostgreSQL's, which opens and closes them as it likes.
        parts: Memory by the name of the process, MB.
    """

    memory: float
    processes: int
    files: int
    parts: Mapping[str, float]

    def told(self) -> str:
        """The memory of each part, in words."""
        return ", ".join(f"{name} {value:.0f}" for name, value in self.parts.items()) + " MB"


def use_of(processes: list[psutil.Process]) -> Use:
    """Sum up what processes use; those that end meanwhile do not count."""
    count, files = 0, 0
    parts: dict[str, float] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            name, memory = process.name(), process.memory_full_info().pss / 1e6
            parts[name] = parts.get(name, 0.0) + memory
            files += 0 if name == "postgres" else process.num_fds()
            count += 1
    return Use(sum(parts.values()), count, files, parts)


async def gone(pid: int, timeout: float = 30) -> float:
    """Wait until a process has ended; the wall-clock time it was seen to have."""

    async def ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await eventually(ended, timeout=timeout, pause=0.005)
    return time.time()


def at(states: list[State[Any]], name: str) -> datetime:
    """When a run came into the state of this name first.

    Raises:
        RuntimeError: It never did.
    """
    for state in states:
        if state.name == name:
            return state.timestamp
    msg = f"The run never was {name}: {[state.name for state in states]}"
    raise RuntimeError(msg)


def now() -> datetime:
    """The time by the wall clock, which state timestamps are taken from too."""
    return datetime.now(UTC)


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
