"""The whole stack in the foreground: starts the parts, keeps them running, ends them together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from vibesurf_blocks.addresses import client_host, is_loopback, url_of
from vibesurf_blocks.browser.session import browser_folders, end_browsers, keepers
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.prefect_api.version_check import CHECKED
from vibesurf_blocks.processes.client import Child, ForkServer
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack import postgres
from vibesurf_blocks.stack.prefect_server import (
    asks_for_csrf_tokens,
    prefect_home,
    sqlite_url,
)
from vibesurf_blocks.stack.ready import listening_socket, wait_ready
from vibesurf_blocks.workspace import checkpoints_dir

logger = logging.getLogger(__name__)

_START_SECONDS = 180.0
"""Long, for a machine that does much else: a part that dies while starting is told of at once."""
_GRACE_SECONDS = 6.0
_RESTART_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
_SETTLED_SECONDS = 30.0
_LOOK_SECONDS = 0.25
_SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
_CLIENT_AUTH = "PREFECT_API_AUTH_STRING"
_CLIENT_CSRF = "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"
_CSRF_CLIENT = "Prefect-Csrf-Client"

_PRELOAD = (
    "prefect.flow_engine",
    "vibesurf_blocks.worker.worker",
    "vibesurf_blocks.worker.child",
    "vibesurf_blocks.mirror.service",
    "vibesurf_blocks.api.app",
    "vibesurf_blocks.stack.parts",
    "uvicorn",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part to keep running."""

    name: str
    target: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    connect: bool = False
    env: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running stack is found.

    Attributes:
        api: Base URL of the REST API.
        prefect_api: URL of Prefect's API.
        prefect_ui: URL of Prefect's UI, None where the server is not ours.
    """

    api: str
    prefect_api: str
    prefect_ui: str | None


class Stack:
    """Starts the parts in the order they need each other, and keeps them running."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """Prepare a stack that tells `say` what it is doing, a few words at a time."""
        self._settings = settings
        self._say = say
        named = [point.value for point in entry_points(group="vibesurf_blocks.preload")]
        self._given_api = os.environ.get("PREFECT_API_URL") or None
        self._env = self._parts_env()
        # In the environment of the parts, so that what is read from it is read once for all.
        warm = "vibesurf_blocks.worker.warm"
        self._forks = ForkServer([*_PRELOAD, *named, warm], env=self._env)
        self._children: dict[str, Child] = {}
        self._prefect: dict[str, Any] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._ending = False
        self._token: str | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Addresses]:
        """Run the stack for as long as the block lasts.

        Raises:
            StackError: A part did not start.
        """
        settings = self._settings
        self._refuse_open_doors()
        settings.home_dir.mkdir(parents=True, exist_ok=True)
        settings.workspace_dir.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(end_left_browsers, settings.workspace_dir)
        # A taken port is told of before anything slow begins.
        listening_socket(settings.host, settings.port).close()
        async with AsyncExitStack() as stack:
            warming = asyncio.create_task(self._forks.start())
            stack.push_async_callback(self._forks.close)
            ui = None
            if self._given_api is None:
                ui = await self._start_prefect(stack, warming)
            await warming
            await self._bootstrap()
            parts = [
                Part("api", "vibesurf_blocks.stack.parts:api"),
                Part("mirror", "vibesurf_blocks.stack.parts:mirror"),
                Part(
                    "worker",
                    "vibesurf_blocks.stack.parts:worker",
                    {"name": f"vibesurf {socket.gethostname()}:{settings.port}"},
                    connect=True,
                ),
            ]
            self._say("starting API, mirror and worker")
            # After the worker: its runs use them.
            stack.push_async_callback(self._end_browsers)
            stack.push_async_callback(self._end, [part.name for part in parts])
            for part in parts:
                await self._keep(part)
            addresses = Addresses(
                url_of(client_host(settings.host), settings.port),
                self._env["PREFECT_API_URL"],
                ui,
            )
            await self._wait_ready(addresses)
            yield addresses

    @property
    def _prefect_ui(self) -> str:
        return url_of(client_host(self._settings.prefect_host), self._settings.prefect_port)

    def _refuse_open_doors(self) -> None:
        """See that nobody else gets in where a server listens for other machines.

        Raises:
            StackError: One would listen there and ask for nothing.
        """
        settings = self._settings
        self._token = settings.guarded_token
        ours = self._given_api is None
        if ours and not is_loopback(settings.prefect_host) and _SERVER_AUTH not in os.environ:
            msg = (
                f"The Prefect server would listen on {settings.prefect_host}, where other machines "
                f"reach it, without a password. Set {_SERVER_AUTH} (user:password), or listen on "
                "127.0.0.1 (VIBESURF_PREFECT_HOST)."
            )
            raise StackError(msg)

    def _parts_env(self) -> dict[str, str]:
        settings = self._settings
        # One port each of several parts on one host cannot have: the API shows them all.
        given = {name: os.environ[name] for name in os.environ if name != "VIBESURF_METRICS_PORT"}
        # Whoever sets the server's password need not set the clients' as well.
        password = os.environ.get(_SERVER_AUTH) if self._given_api is None else None
        # Each client asks for a token first, unless it is told that the server wants none.
        tokens = self._given_api is not None or asks_for_csrf_tokens()
        return {
            **CHECKED,
            **({} if tokens else {_CLIENT_CSRF: "false"}),
            **({_CLIENT_AUTH: password} if password else {}),
            **given,
            "PREFECT_API_URL": self._given_api or f"{self._prefect_ui}/api",
            "PREFECT_HOME": str(prefect_home(settings.home_dir)),
            "VIBESURF_HOME": str(settings.home_dir),
            "VIBESURF_METRICS_DIR": str(settings.metrics_dir or settings.home_dir / "metrics"),
            "VIBESURF_HOST": settings.host,
            "VIBESURF_PORT": str(settings.port),
            "VIBESURF_POOL": settings.pool,
            "VIBESURF_WORKSPACE": str(settings.workspace_dir),
        }

    async def _start_prefect(self, stack: AsyncExitStack, warming: asyncio.Task[None]) -> str:
        settings = self._settings
        listening_socket(settings.prefect_host, settings.prefect_port).close()
        match settings.prefect_database:
            case "postgres" if postgres.is_available():
                self._say("starting PostgreSQL")
                server = await stack.enter_async_context(
                    postgres.EmbeddedPostgres(settings.home_dir)
                )
                keeping = asyncio.create_task(self._keep_postgres(server), name="keep-postgres")
                stack.push_async_callback(self._end_postgres, keeping)
                url = server.url
            case "postgres" | "sqlite":
                if settings.prefect_database == "postgres":
                    logger.warning("No embedded PostgreSQL for this platform; using SQLite.")
                url = sqlite_url(settings.home_dir)
            case given:
                url = given
        await warming
        self._say("starting the Prefect server")
        self._prefect = {
            "host": settings.prefect_host,
            "port": settings.prefect_port,
            "database_url": url,
            "home": str(settings.home_dir),
        }
        stack.push_async_callback(self._end, ["prefect"])
        await self._keep(
            Part(
                "prefect",
                "vibesurf_blocks.stack.parts:prefect_server",
                self._prefect,
                # The server is what the others are clients of.
                env=dict(os.environ),
            )
        )
        health = f"{self._prefect_ui}/api/health"
        await wait_ready(health, timeout=_START_SECONDS, died=self._died("prefect"))
        return self._prefect_ui

    async def _bootstrap(self) -> None:
        self._say("preparing tables, pool and deployments")
        child = await self._forks.spawn(
            "vibesurf_blocks.stack.parts:bootstrap",
            {"pool": self._settings.pool},
            # The first client compares Prefect's versions for all of them.
            env={
                name: self._env[name]
                for name in self._env
                if name not in CHECKED or name in os.environ
            },
        )
        if await child.wait() != 0:
            msg = "Preparing the tables or the Prefect server failed; the lines above say why."
            raise StackError(msg)

    async def _keep(self, part: Part) -> None:
        """Start a part and start it again whenever it ends by itself."""
        self._children[part.name] = await self._spawn(part)
        self._keepers.append(asyncio.create_task(self._restart(part), name=f"keep-{part.name}"))

    async def _spawn(self, part: Part) -> Child:
        return await self._forks.spawn(
            part.target,
            part.kwargs,
            name=f"vibesurf:{part.name}",
            env=self._env if part.env is None else part.env,
            connect=part.connect,
        )

    async def _restart(self, part: Part) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            code = await self._children[part.name].wait()
            if self._ending:
                return
            if time.monotonic() - started > _SETTLED_SECONDS:
                failures = 0
            pause = _RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)]
            failures += 1
            logger.warning("%s ended (%d); starting it again.", part.name, code)
            await asyncio.sleep(pause)
            while True:
                try:
                    self._children[part.name] = await self._spawn(part)
                    break
                except StackError as error:
                    logger.warning("%s could not be started: %s", part.name, error)
                    await asyncio.sleep(_RESTART_SECONDS[-1])

    async def _keep_postgres(self, server: postgres.EmbeddedPostgres) -> None:
        """Start PostgreSQL again whenever it ends by itself."""
        while not self._ending:
            await asyncio.sleep(_LOOK_SECONDS)
            if server.running or self._ending:
                continue
            logger.warning("PostgreSQL ended; starting it again.")
            await server.stop()
            try:
                await server.start()
            except StackError as error:
                logger.warning("PostgreSQL could not be started: %s", error)
                await asyncio.sleep(_RESTART_SECONDS[-1])
                continue
            if "prefect" in self._children and server.url != self._prefect["database_url"]:
                # A home with a long path has its socket elsewhere each time.
                self._prefect["database_url"] = server.url
                self._children["prefect"].signal(signal.SIGTERM)

    async def _end_postgres(self, keeping: asyncio.Task[None]) -> None:
        self._ending = True
        await keeping  # not cut off: a PostgreSQL that is just starting would be left behind

    def _died(self, name: str) -> Callable[[], str | None]:
        first = self._children[name]

        def check() -> str | None:
            if first.returncode is None:
                return None
            return f"{name} ended with code {first.returncode} while starting."

        return check

    async def _wait_ready(self, addresses: Addresses) -> None:
        await wait_ready(
            f"{addresses.api}/tasks/status",
            timeout=_START_SECONDS,
            died=self._died("api"),
            headers={} if self._token is None else {"Authorization": f"Bearer {self._token}"},
        )
        deadline = time.monotonic() + _START_SECONDS
        headers = {}
        if password := self._env.get(_CLIENT_AUTH):
            headers["Authorization"] = f"Basic {b64encode(password.encode()).decode()}"
        async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
            for pool in self._settings.pools:
                while not await self._is_worked(client, addresses.prefect_api, pool):
                    if time.monotonic() > deadline:
                        msg = f"No worker of the pool {pool!r} came online."
                        raise StackError(msg)
                    await asyncio.sleep(0.05)

    async def _is_worked(self, client: httpx.AsyncClient, prefect_api: str, pool: str) -> bool:
        """Whether a worker of the pool is online; unknown counts as not, as Prefect may be busy."""
        try:
            if self._env.get(_CLIENT_CSRF) != "false" and _CSRF_CLIENT not in client.headers:
                client.headers.update(await _csrf_headers(client, prefect_api))
            answer = await client.post(f"{prefect_api}/work_pools/{pool}/workers/filter", json={})
        except httpx.TransportError:
            return False
        return answer.is_success and any(one["status"] == "ONLINE" for one in answer.json())

    async def _end_browsers(self) -> None:
        folders = browser_folders(self._settings.workspace_dir)
        await asyncio.to_thread(end_browsers, folders)

    async def _end(self, names: list[str]) -> None:
        self._ending = True
        for name in names:
            self._children[name].signal(signal.SIGTERM)
        await asyncio.gather(*(self._children[name].stop(_GRACE_SECONDS) for name in names))
        for keeper in self._keepers:
            keeper.cancel()


async def _csrf_headers(client: httpx.AsyncClient, prefect_api: str) -> dict[str, str]:
    """What Prefect's clients send with what is no GET, where the server wants it."""
    headers = {_CSRF_CLIENT: str(uuid4())}
    answer = await client.get(f"{prefect_api}/csrf-token", params={"client": headers[_CSRF_CLIENT]})
    if answer.is_success:  # else it wants none, and says so
        headers["Prefect-Csrf-Token"] = answer.json()["token"]
    return headers


def end_left_browsers(workspace: Path) -> None:
    """End the browsers that a killed stack left and nobody uses; blocks until they have ended.

    While runs are to go on where they were, all are left as they are: one of them may be theirs.
    """
    if not any(checkpoints_dir(workspace).glob("*.json")):
        end_browsers([one.folder for one in keepers(workspace) if not one.used])
