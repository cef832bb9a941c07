"""Settings come from the environment, are checked, and lead to absolute paths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.settings import Settings


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("VIBESURF_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = Settings()
    home = Path("~/.vibesurf-blocks").expanduser()
    assert settings.home_dir == home
    assert settings.workspace_dir == home / "workspace"
    assert settings.tables_url == f"sqlite:///{home / 'vibesurf.db'}"
    assert settings.client_url == "http://127.0.0.1:9335"
    assert (settings.prefect_port, settings.pool, settings.slots) == (4200, "vibesurf", 1)


def test_each_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBESURF_PORT", "1234")
    monkeypatch.setenv("VIBESURF_HOME", "/srv/agents")
    monkeypatch.setenv("VIBESURF_WORKSPACE", "~/work")
    monkeypatch.setenv("VIBESURF_DATABASE_URL", "postgresql://db/agents")
    settings = Settings()
    assert settings.client_url == "http://127.0.0.1:1234"
    assert settings.workspace_dir == Path("~/work").expanduser()
    assert settings.tables_url == "postgresql://db/agents"


def test_the_environment_is_read_again_where_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Settings.here()
    assert Settings.here() is first
    monkeypatch.setenv("VIBESURF_SLOTS", "3")
    assert Settings.here().slots == 3
    monkeypatch.delenv("VIBESURF_SLOTS")
    assert Settings.here().slots == 1


def test_relative_folders_do_not_move_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=Path("here"))
    monkeypatch.chdir("/")
    assert settings.home_dir == tmp_path / "here"


def test_a_final_slash_of_the_api_address_does_not_matter() -> None:
    assert Settings(api_url="http://agents:80/").client_url == "http://agents:80"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "70000"),
        ("slots", "0"),
        ("pool", ""),
        ("log_level", "LOUD"),
        ("log_format", "xml"),
        ("request_timeout", "0"),
        ("request_attempts", "11"),
        ("max_steps", "none"),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_command_line_names_the_variable_that_is_wrong() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "vibesurf_blocks", "up"],
        env={**os.environ, "VIBESURF_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 2
    assert process.stderr.startswith("Error: VIBESURF_PORT: ")
    assert "Traceback" not in process.stderr


def test_where_clients_find_the_api() -> None:
    token = "0123456789abcdef"
    for host, url in (
        ("0.0.0.0", "http://127.0.0.1:9335"),
        ("::", "http://[::1]:9335"),
        ("::1", "http://[::1]:9335"),
        ("agents.example.org", "http://agents.example.org:9335"),
    ):
        assert Settings(host=host, api_token=SecretStr(token)).client_url == url


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_no_token_is_needed(host: str) -> None:
    assert Settings(host=host).guarded_token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "agents.example.org"])
def test_elsewhere_one_is(host: str) -> None:
    with pytest.raises(StackError, match=f"{host}.*VIBESURF_API_TOKEN"):
        _ = Settings(host=host).guarded_token
    token = "0123456789abcdef"
    assert Settings(host=host, api_token=SecretStr(token)).guarded_token == token


def test_a_token_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    settings = Settings(host="0.0.0.0", api_token_file=file)
    with pytest.raises(StackError, match=r"token: No such file"):
        _ = settings.guarded_token
    file.write_text("short\n")
    with pytest.raises(StackError, match="at least 16 characters"):
        _ = settings.guarded_token
    file.write_text("0123456789abcdef\n")
    assert settings.guarded_token == "0123456789abcdef"


def test_a_token_is_never_shown() -> None:
    token = "0123456789abcdef-secret"
    assert token not in repr(Settings(api_token=SecretStr(token)))
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"api_token": "sh0rt"})
    assert "sh0rt" not in str(refused.value.errors(include_input=False))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "https://agents.example.org"),
        ("allowed_hosts", "agents.example.org:80"),
        ("allowed_origins", "https://*"),
        ("allowed_origins", "*"),
        ("allowed_origins", "app.example.org"),
        ("allowed_origins", "https://app.example.org/path"),
    ],
)
def test_doors_are_named_exactly(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})
