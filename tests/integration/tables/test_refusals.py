"""What a server that cannot be used is called: by its address and reason, without the password."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from sqlalchemy import make_url

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.tables import Database, TaskStore, upgrade

SECRET = "hunter2"


@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
async def test_a_database_that_is_not_there(database_url: str) -> None:
    url = make_url(database_url).set(database="vibesurf_nowhere")
    with pytest.raises(Unavailable, match=r"vibesurf_nowhere cannot be opened: .*vibesurf_nowhere"):
        await upgrade(url.render_as_string(hide_password=False))


async def test_a_wrong_password_is_not_shown(mysql_url: str) -> None:
    url = make_url(mysql_url).set(password=SECRET)
    with pytest.raises(Unavailable, match="Access denied") as refused:
        await upgrade(url.render_as_string(hide_password=False))
    assert SECRET not in "".join(traceback.format_exception(refused.value))


async def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "vibesurf.db"
    file.write_bytes(b"no database " * 1000)
    database = Database(f"sqlite:///{file}")
    for read in (TaskStore(database).active, TaskStore(database).last_ended):
        with pytest.raises(Unavailable, match="cannot be read: file is not a database"):
            await read()
    await database.aclose()
