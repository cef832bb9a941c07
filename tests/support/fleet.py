"""Several hosts on one machine: parts as processes of their own, with one PostgreSQL and Redis.

A `Machine` starts processes, in a network namespace of its own if it has one; a `Fleet` is a
Prefect server and two hosts, each with an API, a worker and a mirror.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import redis
from prefect.client.orchestration import PrefectClient
from sqlalchemy import make_url

from tests.support.databases import fresh, unavailable
from tests.support.stack import clean_env
from vibesurf_blocks.processes.client import Child, ForkServer
from vibesurf_blocks.stack.ready import free_port
from vibesurf_blocks.stack.up import _PRELOAD
from vibesurf_blocks.worker.worker import preloads

T = TypeVar("T")

REDIS_USUAL = "redis://127.0.0.1:6379"
POOL = "vibesurf"
NAMES = ("one", "two")
_OWNER = "vibesurf-test-owner"
_CALL_SECONDS = 150.0
_CLONE_NEWNET = 0x40000000


@contextmanager
def redis_database() -> Iterator[str]:
    """URL of an empty Redis database of our own, emptied afterwards.

    The server is the one of VIBESURF_TEST_REDIS_URL (without a database), else on its usual port.
    """
    server = os.environ.get("VIBESURF_TEST_REDIS_URL", REDIS_USUAL).rstrip("/")
    for number in range(1, 16):
        url = f"{server}/{number}"
        client = redis.Redis.from_url(url)
        try:
            mine = client.dbsize() == 0 and client.set(_OWNER, os.getpid(), nx=True)
        except redis.exceptions.ConnectionError:
            break
        if mine:
            try:
                yield url
            finally:
                client.flushdb()
                client.close()
            return
        client.close()
    unavailable(f"no Redis with an empty database answers at {server}")


def prefect_settings(redis_url: str) -> dict[str, str]:
    """Prefect's settings of a server whose events and leases live in Redis."""
    return {
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
        "PREFECT_REDIS_MESSAGING_URL": redis_url,
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": redis_url,
        "PREFECT_SERVER_DOCKET_URL": redis_url,
    }


class Machine:
    """Starts processes through a fork server, which does their imports once."""

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._forks: ForkServer | None = None

    def start(self) -> None:
        """Start the fork server and wait until it can fork."""
        self._thread.start()
        self._call(self._open())

    def spawn(self, part: str, log: Path, env: Mapping[str, str], **kwargs: Any) -> Child:
        """Start a part: `api`, `mirror`, `worker`, `prefect_server` or `bootstrap`."""
        assert self._forks is not None
        return self._call(
            self._forks.spawn(
                "tests.support.fleet:part",
                {"name": part, "log": str(log), "kwargs": kwargs},
                name=f"fleet:{part}"[:15],
                env=env,
                connect=part == "worker",
            )
        )

    def wait(self, child: Child) -> int:
        """Wait for the end of a part; its exit code."""
        return self._call(child.wait())

    def close(self) -> None:
        """Kill everything that was started here."""
        if self._forks is not None:
            self._call(self._forks.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _open(self) -> None:
        # No agent here drives a browser: what that imports is left out.
        named = [one for one in preloads() if "browser_use" not in one]
        self._forks = ForkServer([*_PRELOAD, *named, "prefect_redis"], env=clean_env())
        await self._forks.start()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    def _serve(self) -> None:
        if self._namespace is not None:
            # For this thread alone, and so for what it starts.
            with Path(f"/run/netns/{self._namespace}").open("rb") as space:
                if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter {self._namespace}")
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


def part(name: str, log: str, kwargs: dict[str, Any]) -> None:
    """Be a part, in a forked process; what it says goes to the log."""
    from vibesurf_blocks.stack import parts

    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    getattr(parts, name)(**kwargs)


@dataclass
class Host:
    """A host with its own workspace; `parts` are the processes that run there now."""

    name: str
    machine: Machine
    folder: Path
    env: dict[str, str]
    port: int
    address: str = "127.0.0.1"
    parts: dict[str, Child] = field(default_factory=dict)

    @property
    def api(self) -> str:
        """Base URL of its API."""
        return f"http://{self.address}:{self.port}"

    def start(self, *names: str) -> None:
        """Start parts of it: `api`, `worker`, `mirror`."""
        self.folder.mkdir(exist_ok=True)
        for name in names:
            more: dict[str, Any] = {"name": self.name} if name == "worker" else {}
            if name == "api":
                more = {"host": self.address, "port": self.port}
            self._log(name).unlink(missing_ok=True)
            self.parts[name] = self.machine.spawn(name, self._log(name), self.env, **more)

    def said(self, name: str) -> str:
        """Everything that a part has printed and logged."""
        log = self._log(name)
        return log.read_text(errors="replace") if log.exists() else ""

    @property
    def mirrors(self) -> bool:
        """Whether its mirror lives and says that it is the active one."""
        if "mirror" not in self.parts or self.parts["mirror"].returncode is not None:
            return False
        said = self.said("mirror")
        return said.rfind("This mirror is active") > max(
            said.rfind("This mirror stands by"), said.rfind("This mirror is no longer active"), -1
        )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a part a signal; with SIGKILL or SIGTERM wait for its end."""
        child = self.parts[name]
        # To the process alone: what becomes of its children is its own matter.
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self.machine.wait(child)


class Fleet:
    """A Prefect server and two hosts."""

    def __init__(
        self,
        postgres: str,
        prefect_url: str,
        redis_url: str,
        *,
        tables: str | None = None,
        addresses: tuple[str, str, str] = ("127.0.0.1",) * 3,
        namespaces: tuple[str | None, str | None] = (None, None),
    ) -> None:
        """Prepare a fleet.

        Args:
            postgres: URL of the tables' database, as the tests reach it.
            prefect_url: URL of the database of the Prefect server.
            redis_url: URL of a Redis database.
            tables: URL of the tables as the hosts reach them, where that differs.
            addresses: Where the Prefect server and the two hosts' APIs listen.
            namespaces: Network namespaces of the hosts.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
        self.tables = postgres
        self._database = make_url(prefect_url).set(drivername="postgresql+asyncpg")
        self._redis = redis_url
        self.log = self.folder / "center.log"
        self._center = addresses[0]
        self._port = free_port(self._center)
        self.prefect_api = f"http://{self._center}:{self._port}/api"
        self.center = Machine()
        self._machines = [self.center]
        self.hosts: list[Host] = []
        # An API that other hosts reach starts with a token only.
        self._token = secrets.token_hex(16) if any(namespaces) else ""
        for name, address, namespace in zip(NAMES, addresses[1:], namespaces, strict=True):
            machine = self.center
            if namespace is not None:
                machine = Machine(namespace)
                self._machines.append(machine)
            env = clean_env(
                PREFECT_API_URL=self.prefect_api,
                PREFECT_HOME=str(self.folder / name / "prefect"),
                PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED="false",
                VIBESURF_HOME=str(self.folder / name),
                VIBESURF_POOL=POOL,
                VIBESURF_DATABASE_URL=tables or postgres,
                VIBESURF_REQUEST_TIMEOUT="60",
                # Two mirrors' looks are no test of anything here, and cost the server much.
                VIBESURF_SCHEDULE_POLL_SECONDS="2",
                **({"VIBESURF_API_TOKEN": self._token} if self._token else {}),
            )
            port = free_port() if namespace is None else 9335
            self.hosts.append(Host(name, machine, self.folder / name, env, port, address))

    def start(self) -> None:
        """Start everything; returns when both APIs answer and both workers are online."""
        begun = time.monotonic()
        for machine in self._machines:
            machine.start()
        self.start_prefect()
        self._until_answers(f"{self.prefect_api}/health")
        code = self.center.wait(
            self.center.spawn("bootstrap", self.log, self.hosts[0].env, pool=POOL)
        )
        assert code == 0, self.said()
        for host in self.hosts:
            host.start("worker", "api", "mirror")
        for host in self.hosts:
            self._until_answers(f"{host.api}/health")
        self._until_online()
        print(f"the fleet is up after {time.monotonic() - begun:.1f} s")

    def start_prefect(self) -> None:
        """Start the Prefect server."""
        self.prefect_server = self.center.spawn(
            "prefect_server",
            self.log,
            clean_env(**prefect_settings(self._redis)),
            host=self._center,
            port=self._port,
            database_url=self._database.render_as_string(hide_password=False),
            home=str(self.folder / "center"),
        )

    def close(self) -> None:
        """Kill everything, and delete its files."""
        for machine in reversed(self._machines):
            machine.close()
        if not os.environ.get("KEEPIT"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def prefect(self) -> PrefectClient:
        """A client of the Prefect server."""
        return PrefectClient(self.prefect_api)

    def http(self, number: int = 0) -> httpx.AsyncClient:
        """A client of one of the APIs."""
        return httpx.AsyncClient(
            base_url=self.hosts[number].api,
            headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
            trust_env=False,
            timeout=60,
        )

    def said(self) -> str:
        """The last of what the parts have printed and logged."""
        logs = sorted(self.folder.rglob("*.log"))
        return "".join(f"--- {one}\n{one.read_text(errors='replace')[-1500:]}" for one in logs)

    def _until_answers(self, url: str) -> None:
        def answers() -> bool:
            try:
                return httpx.get(url, trust_env=False, timeout=5).is_success
            except httpx.TransportError:
                return False

        self._until(answers, url)

    def _until_online(self) -> None:
        def online() -> bool:
            url = f"{self.prefect_api}/work_pools/{POOL}/workers/filter"
            workers = httpx.post(url, json={}, trust_env=False, timeout=10).json()
            return {one["name"] for one in workers if one["status"] == "ONLINE"} >= set(NAMES)

        self._until(online, "both workers")

    def _until(self, met: Any, what: str) -> None:
        deadline = time.monotonic() + 120
        while not met():
            assert time.monotonic() < deadline, f"{what} is not up: {self.said()}"
            time.sleep(0.05)


@contextmanager
def running_fleet(redis_url: str) -> Iterator[Fleet]:
    """A fleet on an empty database of its own, for Prefect and the tables."""
    with asyncio.Runner() as runner:
        database = fresh("postgresql")
        url = runner.run(database.__aenter__())
        try:
            fleet = Fleet(url, url, redis_url)
            try:
                fleet.start()
                yield fleet
            finally:
                fleet.close()
        finally:
            runner.run(database.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """URL of an empty Redis database."""
    with redis_database() as url:
        yield url
