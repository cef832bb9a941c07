"""A Prefect server in a process of its own, on SQLite or on an embedded PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, Self

import psutil

from tests.support.eventually import slowness
from vibesurf_blocks.stack.postgres import EmbeddedPostgres
from vibesurf_blocks.stack.prefect_server import sqlite_url
from vibesurf_blocks.stack.ready import free_port, wait_ready

Database = Literal["sqlite", "postgres"]

SERVE = "from vibesurf_blocks.stack.prefect_server import main; raise SystemExit(main())"


class LocalServer:
    """Start, stop and kill a Prefect server on `<folder>/home`; may be started again.

    The process gets a `HOME`, `TMPDIR` and working directory of its own in `<folder>/elsewhere`,
    so that whatever it writes outside the home it was given is found there.
    """

    def __init__(self, folder: Path, database: Database, *, program: str = SERVE) -> None:
        self.home = folder / "home"
        self.elsewhere = folder / "elsewhere"
        self.log = folder / "server.log"
        self.database: Database = database
        self.port = free_port()
        self.postgres = EmbeddedPostgres(self.home) if database == "postgres" else None
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> float:
        """Start what does not run; the seconds until the API answered."""
        begun = time.monotonic()
        if self.running:
            return 0.0
        self.elsewhere.mkdir(parents=True, exist_ok=True)
        if self.postgres is not None:
            await self.postgres.start()
        database = self.postgres.url if self.postgres else sqlite_url(self.home)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "XDG_"))}
        here = str(self.elsewhere)
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", self._program, "--port", str(self.port)]
            command += ["--database", database, "--home", str(self.home)]
            self._process = subprocess.Popen(  # noqa: ASYNC220 - outlives the loop that starts it
                command,
                env=kept
                | {
                    "HOME": here,
                    "TMPDIR": here,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                cwd=here,
                stdout=log,
                stderr=log,
            )
        try:
            await wait_ready(f"{self.api_url}/health", timeout=90 * slowness(), died=self._died)
        except BaseException:
            await self.stop()
            raise
        return time.monotonic() - begun

    async def terminate(self) -> float:
        """Ask the server alone to end; the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 20)
        return time.monotonic() - begun

    async def stop(self) -> None:
        """End everything in order."""
        if self.running:
            await self.terminate()
        if self.postgres is not None:
            await self.postgres.stop()

    async def kill(self) -> None:
        """SIGKILL the server and every PostgreSQL process at once."""
        doomed = self.processes()
        for process in doomed:
            process.kill()
        await asyncio.to_thread(psutil.wait_procs, doomed, 10)
        self.process.wait(10)
        if self.postgres is not None:
            await self.postgres.stop()  # gives up the lock, as the death of the owner would

    def processes(self) -> list[psutil.Process]:
        """The server's processes and PostgreSQL's."""
        roots = [psutil.Process(self.process.pid)]
        if self.postgres is not None and self.postgres.pid is not None:
            roots.append(psutil.Process(self.postgres.pid))
        return [p for root in roots for p in (root, *root.children(recursive=True))]

    def _died(self) -> str | None:
        if self.running:
            return None
        return f"The server ended with {self.process.returncode}: {self.log.read_text()[-2000:]}"
