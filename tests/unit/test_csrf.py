"""Clients ask for CSRF tokens only where a server may want them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.prefect_server import server_settings
from vibesurf_blocks.stack.up import Stack

CLIENT = "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"
SERVER = "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CLIENT, SERVER, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def clients(home: Path) -> dict[str, str]:
    return Stack(Settings(home=home), print)._parts_env()


def server(home: Path) -> dict[str, str]:
    return server_settings("127.0.0.1", 4321, "sqlite+aiosqlite:///p.db", home)


def test_server_and_clients_are_told_that_there_are_none(tmp_path: Path) -> None:
    assert server(tmp_path)[SERVER] == clients(tmp_path)[CLIENT] == "false"


@pytest.mark.parametrize("name", [SERVER, "PREFECT_SERVER_CSRF_PROTECTION_ENABLED"])
def test_whoever_set_it_for_the_server_has_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    assert SERVER not in server(tmp_path)
    assert CLIENT not in clients(tmp_path)


def test_somebody_elses_server_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    assert CLIENT not in clients(tmp_path)
