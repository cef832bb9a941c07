"""A stack to break: on a disk of its own, its parts connected through proxies."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.chaos.driver import hooks
from tests.chaos.driver.proxy import Proxy
from tests.support.stack import ROOT, LiveStack
from vibesurf_blocks.stack.postgres import SOCKET_NAME
from vibesurf_blocks.stack.ready import free_port

DISK_BYTES = 4_000_000_000
START_ATTEMPTS = 5
START_SECONDS = 300.0
"""A machine that others use as well starts a database slowly."""

_SETTINGS = {
    # A run is started again as often as it dies: that is what is looked at here.
    "VIBESURF_SILENCE_SECONDS": "8",
    "VIBESURF_BROWSER_IDLE_SECONDS": "60",
    "VIBESURF_MODEL_CHECK_SECONDS": "20",
}


@dataclass
class Disk:
    """The disk of the home, which can be filled: a small tmpfs, where root may mount one."""

    path: Path
    real: bool

    def fill(self) -> None:
        """Leave no byte free."""
        used = shutil.disk_usage(self.path).used
        self._resize(max(used, 1 << 20))

    def free(self) -> None:
        """As before."""
        self._resize(DISK_BYTES)

    def _resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)


@dataclass
class Arena:
    """The stack and what is around it.

    Attributes:
        stack: The stack.
        folder: All of it: the home, and beside it what must stay untouched or become empty again.
        prefect: Proxy between the parts and Prefect.
        database: Proxy between Prefect and PostgreSQL, None with SQLite.
        disk: The disk of the home.
    """

    stack: LiveStack
    folder: Path
    prefect: Proxy
    database: Proxy | None
    disk: Disk

    @property
    def book(self) -> Path:
        """Where agents write."""
        return self.folder / "book"

    @property
    def temporary(self) -> Path:
        """The stack's temporary folder."""
        return self.folder / "tmp"

    @property
    def user(self) -> Path:
        """The home of the user who runs the stack, in which it has no business."""
        return self.folder / "user"

    @property
    def postgres(self) -> bool:
        """Whether Prefect works on PostgreSQL."""
        return self.database is not None

    def start(self) -> None:
        """Start the stack; a machine that others use as well may need more than one attempt."""
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self.stack.start()
            except AssertionError:
                if attempt == START_ATTEMPTS:
                    raise
                self.stack.kill()
            else:
                return

    def keep(self, where: Path) -> None:
        """Copy what explains a run to another place."""
        where.mkdir(parents=True, exist_ok=True)
        names = ["up.log", "others.log", "book/log.jsonl", "home/logs/postgres.log"]
        for path in [self.folder / name for name in names] + list(self.stack.home.glob("*.db*")):
            if path.is_file():
                shutil.copy(path, where / path.name)


@contextmanager
def arena(
    database: str,
    without: str = "",
    *,
    proxies: bool = True,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Arena]:
    """An arena, its stack not started; nothing is left of it afterwards.

    Args:
        database: `postgres` or `sqlite`, of Prefect.
        without: Guards to remove, separated by commas.
        proxies: Whether the parts are connected through some.
        settings: Further settings of the stack, as environment variables.
    """
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    folder.chmod(0o755)  # PostgreSQL's own user passes through
    with ExitStack() as opened:
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("home", "book", "tmp", "user", "sockets"):
            (folder / name).mkdir()
        disk = opened.enter_context(_disk(folder / "home"))
        port = free_port()
        env = {
            **_SETTINGS,
            **settings,
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder / "user"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("inside")), str(ROOT)]),
            "VIBESURF_PREFECT_DATABASE": database,
            hooks.BOOK: str(folder / "book"),
        }
        if proxies:
            env[hooks.PREFECT] = f"http://127.0.0.1:{port}/api"
        if without:
            env[hooks.WITHOUT] = without
        by_socket = None
        if database == "postgres" and proxies:
            env[hooks.SOCKETS] = str(folder / "sockets")
            by_socket = opened.enter_context(
                Proxy(folder / "sockets" / SOCKET_NAME, folder / "home/postgres" / SOCKET_NAME)
            )
        stack = LiveStack(folder, **env)
        stack.patience = START_SECONDS
        prefect = opened.enter_context(Proxy(port, stack.prefect_port))
        opened.callback(stack.kill)
        yield Arena(stack, folder, prefect, by_socket, disk)


@contextmanager
def _disk(path: Path) -> Iterator[Disk]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "chaos", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield Disk(path, real=False)
        return
    try:
        yield Disk(path, real=True)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)
