"""The embedded PostgreSQL: any home, any kill, one owner, and a clear word when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
import sqlalchemy as sa

from tests.support import postgres_owner
from tests.support.stack import clean_env
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.stack.postgres import CONFIGURATION, EmbeddedPostgres, is_available


@asynccontextmanager
async def connected(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    url = sa.make_url(postgres.url)
    connection = await asyncpg.connect(
        host=str(url.query["host"]), user=url.username, database=url.database
    )
    try:
        yield connection
    finally:
        await connection.close()


def start_owner(home: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that owns a PostgreSQL; it, and the postmaster's pid."""
    owner = subprocess.Popen(
        [sys.executable, "-m", postgres_owner.__name__, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def exists(path: Path) -> bool:
    return path.exists()


async def keep_one_row(postgres: EmbeddedPostgres) -> None:
    async with connected(postgres) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS number")


async def assert_row_kept(postgres: EmbeddedPostgres) -> None:
    async with connected(postgres) as connection:
        assert await connection.fetchval("SELECT number FROM kept") == 1


async def test_a_long_and_odd_home_gets_a_short_socket_path(folder: Path) -> None:
    assert is_available()
    home = folder / ("long" * 30) / "a b,%20ü"
    async with EmbeddedPostgres(home) as postgres:
        await keep_one_row(postgres)
        sockets = Path(str(sa.make_url(postgres.url).query["host"]))
        assert sockets != postgres.data
    assert not exists(sockets)
    async with EmbeddedPostgres(home) as postgres:
        await assert_row_kept(postgres)


async def test_configured_small_and_durable_and_stopped_whole(folder: Path) -> None:
    async with EmbeddedPostgres(folder / "home") as postgres, connected(postgres) as connection:
        for name, value in CONFIGURATION.items():
            assert await connection.fetchval("SELECT current_setting($1)", name) in (
                value,
                "",
                "UTC",
            )
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        root = psutil.Process(postgres.pid)
        processes = [root, *root.children()]
        await postgres.stop()  # the open connection does not hold it up
    assert not any(process.is_running() for process in processes)


async def test_an_orphaned_postmaster_is_adopted(folder: Path) -> None:
    home = folder / "orphaned"
    owner, pid = start_owner(home)
    owner.kill()
    owner.communicate()
    assert psutil.pid_exists(pid)
    async with EmbeddedPostgres(home) as postgres:
        assert postgres.pid == pid
        assert postgres.running
        await keep_one_row(postgres)
    assert not psutil.pid_exists(pid)


async def test_recovers_after_sigkill_of_everything(folder: Path) -> None:
    home = folder / "killed"
    async with EmbeddedPostgres(home) as postgres:
        await keep_one_row(postgres)
    owner, pid = start_owner(home)
    postmaster = psutil.Process(pid)
    doomed = [psutil.Process(owner.pid), postmaster, *postmaster.children()]
    for process in doomed:
        process.kill()
    owner.communicate()
    psutil.wait_procs(doomed, 10)
    async with EmbeddedPostgres(home) as postgres:
        assert postgres.pid != pid
        await assert_row_kept(postgres)


async def test_a_stranger_with_the_dead_postmasters_pid_is_left_alone(folder: Path) -> None:
    home = folder / "reused"
    async with EmbeddedPostgres(home) as postgres:
        await keep_one_row(postgres)
    lines = [str(os.getpid()), str(postgres.data), "1", "5432", str(postgres.data), "", "1 1"]
    (postgres.data / "postmaster.pid").write_text("\n".join([*lines, "ready", ""]))
    async with postgres:
        assert postgres.pid != os.getpid()
        await assert_row_kept(postgres)


async def test_a_second_owner_is_refused(folder: Path) -> None:
    home = folder / "shared"
    owner, pid = start_owner(home)
    try:
        with pytest.raises(StackError, match="in use by another"):
            await EmbeddedPostgres(home).start()
        assert psutil.pid_exists(pid)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
        async with EmbeddedPostgres(home):
            pass


async def test_a_fragment_of_a_data_folder_is_made_anew(folder: Path) -> None:
    home = folder / "fragment"
    (home / "postgres.new").mkdir(parents=True)
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(home) as postgres:
        await keep_one_row(postgres)


async def test_a_data_folder_it_cannot_read_is_reported_with_the_log(folder: Path) -> None:
    home = folder / "foreign"
    async with EmbeddedPostgres(home) as postgres:
        version = postgres.data / "PG_VERSION"
    version.write_text("9.6\n")
    with pytest.raises(StackError, match=r"incompatible.*postgres\.log") as caught:
        await EmbeddedPostgres(home).start()
    assert str(postgres.log) in caught.value.message


AS_NOBODY = """
import os, sys
from pathlib import Path
from vibesurf_blocks.stack.postgres import EmbeddedPostgres

# Only now: the interpreter may lie where nobody else may read.
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres._start()
print(postgres.url)
postgres._stop()
print("stopped")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a normal user already")
def test_runs_as_a_normal_user(folder: Path) -> None:
    home = folder / "normal"
    home.mkdir()
    os.chown(home, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(home)],
        env=clean_env(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    url, stopped = done.stdout.split()
    assert url.startswith("postgresql+asyncpg://")
    assert stopped == "stopped"
    assert (home / "postgres").stat().st_uid == 65534
