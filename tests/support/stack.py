"""The whole stack, started by `vibesurf-blocks up` as a user starts it, shared by many tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx
import psutil
from prefect.client.orchestration import PrefectClient

from tests.support.databases import stack_database
from tests.support.eventually import slowness
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.ready import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
END_SECONDS = 10.0
_TOKEN = "VIBESURF_TEST_STACK"
_LOOK_SECONDS = 0.05


def clean_env(**more: str) -> dict[str, str]:
    """This environment without anything that leads to another Prefect or another home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "VIBESURF_"))}
    # Children use the package under test, wherever it was installed from.
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    return {**kept, "DO_NOT_TRACK": "1", **more}


class LiveStack:
    """A running `vibesurf-blocks up` on free ports and a home of its own.

    Attributes:
        patience: Seconds it may take to start.
    """

    patience = START_SECONDS

    def __init__(self, folder: Path, *, database: str | None = None, **env: str) -> None:
        """Prepare a stack.

        Args:
            folder: Where it may write.
            database: URL of its tables; by default as VIBESURF_TEST_DATABASE says.
            env: Further environment of its parts.
        """
        self.home = folder / "home"
        self.log = folder / "up.log"
        self.port = free_port()
        self.prefect_port = free_port()
        self.api = f"http://127.0.0.1:{self.port}"
        self.prefect_api = f"http://127.0.0.1:{self.prefect_port}/api"
        self._token = uuid4().hex
        self.database = database or stack_database()
        self._own_env = {
            # A page that a test holds back is not to be asked for again in the meantime.
            "VIBESURF_REQUEST_TIMEOUT": "120",
            **env,
            **({"VIBESURF_DATABASE_URL": self.database} if self.database else {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def env(self) -> dict[str, str]:
        """Environment of further parts, and of users' commands, that work with this stack."""
        return clean_env(
            **self._own_env,
            PREFECT_API_URL=self.prefect_api,
            PREFECT_HOME=str(self.home / "prefect"),
            VIBESURF_HOME=str(self.home),
            VIBESURF_API_URL=self.api,
            **{_TOKEN: self._token},
        )

    @property
    def settings(self) -> Settings:
        """Settings as the parts of the stack have them."""
        return Settings(
            home=self.home,
            port=self.port,
            prefect_port=self.prefect_port,
            database_url=self.database,
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The `up` process."""
        assert self._process is not None
        return self._process

    def start(self) -> Self:
        """Start the stack and wait until it says that it is ready."""
        command = [sys.executable, "-m", "vibesurf_blocks", "up", "--home", str(self.home)]
        command += ["--port", str(self.port), "--prefect-port", str(self.prefect_port)]
        before = len(self.said())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=clean_env(**self._own_env, **{_TOKEN: self._token}),
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.patience * slowness()
        while "Ready" not in (said := self.said()[before:]):
            assert self._process.poll() is None, f"`up` ended: {said[-3000:]}"
            assert time.monotonic() < deadline, f"`up` is not ready: {said[-3000:]}"
            time.sleep(_LOOK_SECONDS)
        return self

    def stop(self) -> float:
        """End the stack with SIGTERM; the seconds until nothing was left of it."""
        for other in self._others:
            end(other)
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS * slowness() + 20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        while self.processes() and time.monotonic() - begun < END_SECONDS * slowness() + 20:
            time.sleep(_LOOK_SECONDS)
        took = time.monotonic() - begun
        left = [(one.pid, one.cmdline()) for one in self.processes()]
        self.kill()
        assert not left, f"processes outlived the stack: {left}"
        return took

    def kill(self) -> None:
        """SIGKILL whatever there is."""
        for process in self.processes():
            process.kill()
        psutil.wait_procs(self.processes(), 5)

    def said(self) -> str:
        """Everything the stack has printed and logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to this stack, wherever they hang in the process tree."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(_TOKEN) == self._token
                ours = ours or any(str(self.home) in word for word in process.cmdline())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def part(self, name: str) -> psutil.Process:
        """The process of one part: `api`, `mirror`, `worker` or `prefect`; `run` is an agent's."""
        found = self.parts(name)
        assert len(found) == 1, f"{len(found)} processes are named for {name}"
        return found[0]

    def parts(self, name: str) -> list[psutil.Process]:
        """All processes of that name."""
        # The kernel keeps fifteen characters of a name.
        wanted = f"vibesurf:{name}"[:15]
        return [one for one in self.processes() if _name(one) == wanted]

    def open(
        self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program beside the stack; it is ended with the stack at the latest."""
        with (self.log.parent / "others.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**self.env, **(env or {})},
                cwd=cwd or self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._others.append(process)
        return process

    def prefect(self) -> PrefectClient:
        """A client of the stack's Prefect server, to be used as a context manager."""
        return PrefectClient(self.prefect_api)

    def http(self) -> httpx.AsyncClient:
        """A plain client of the stack's REST API, to be used as a context manager."""
        # Certificates, which plain HTTP does not need, take longer to load than most answers.
        return httpx.AsyncClient(base_url=self.api, trust_env=False, verify=False, timeout=30)


@contextlib.contextmanager
def own_stack(**env: str) -> Iterator[LiveStack]:
    """A stack that one test has to itself: it may kill it, stop it and start it again."""
    # PostgreSQL's own user must pass through the folder, as it may not through pytest's.
    folder = Path(tempfile.mkdtemp(prefix="own-", dir="/tmp"))
    folder.chmod(0o755)
    stack = LiveStack(folder, **env)
    try:
        yield stack.start()
        stack.stop()
    finally:
        stack.kill()
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program in order, or by force after ten seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(END_SECONDS)


def _name(process: psutil.Process) -> str | None:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return None
