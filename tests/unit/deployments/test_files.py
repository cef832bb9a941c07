"""Unit and container files: every command they name is accepted, every variable is a setting."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cyclopts
import prefect.settings
import prefect_redis.cleanup_queue
import prefect_redis.client
import pytest
import typer.main
import yaml
from prefect.cli._app import _app as prefect_cli

from tests.support.databases import unavailable
from vibesurf_blocks.api.access import PUBLIC
from vibesurf_blocks.cli.main import app
from vibesurf_blocks.settings import Settings

FOLDER = Path(__file__).parents[3] / "deployments"
UNITS = sorted((FOLDER / "systemd").glob("*.service"))
COMPOSE = FOLDER / "containers" / "compose.yaml"
OTHERS = {"redis-server", "pg_isready", "redis-cli", "python", "POSTGRES_"}


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def unit(path: Path) -> dict[str, str]:
    """The settings of a unit's service."""
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return dict(parser["Service"])


def commands() -> Iterator[list[str]]:
    """The commands of all files, each without the folder of its program."""
    for path in UNITS:
        for name in ("ExecStartPre", "ExecStart"):
            if words := unit(path).get(name, "").replace("%H", "host").split():
                assert words[0].startswith("/opt/vibesurf-blocks/bin/"), words
                yield [Path(words[0]).name, *words[1:]]
    for service in services().values():
        if words := service.get("command"):
            yield words


def variables() -> set[str]:
    """The environment variables that the files set."""
    lines = (FOLDER / "systemd" / "vibesurf.env").read_text()
    found = set(re.findall(r"^([A-Z_]+)=", lines, re.MULTILINE))
    for service in services().values():
        found |= set(service.get("environment", {}))
    return {name for name in found if not name.startswith("POSTGRES_")}


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """The environment of each part, with something chosen for each placeholder."""
    text = (FOLDER / "systemd" / "vibesurf.env").read_text()
    lines = (line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]", line))
    given = {"vibesurf.env": dict(lines)}
    given |= {name: one.get("environment", {}) for name, one in services().items()}
    for name, values in given.items():
        yield name, {key: _chosen(value) for key, value in values.items()}


def _chosen(value: str) -> str:
    return re.sub(r"<[^>]+>|\$\{[A-Z_]+:\?[^}]+\}", "0123456789abcdef", value)


@pytest.mark.parametrize("words", sorted(commands()), ids=" ".join)
def test_a_command_is_accepted(words: list[str]) -> None:
    program, *arguments = words
    if program == "vibesurf-blocks":
        group = typer.main.get_command(app)
        context = group.make_context(program, list(arguments))
        name, command, rest = group.resolve_command(context, list(arguments))  # type: ignore[attr-defined]
        command.make_context(name, rest, parent=context)
    elif program == "prefect":
        called, _, _ = prefect_cli.parse_args(arguments, exit_on_error=False, print_error=False)
        assert called.__name__ == arguments[-1] or "start" in arguments
    else:
        assert program in OTHERS


def test_a_wrong_command_is_not() -> None:
    """What the test above would notice."""
    with pytest.raises(cyclopts.CycloptsError):
        prefect_cli.parse_args(
            ["worker", "start", "--poole", "x"], exit_on_error=False, print_error=False
        )


@pytest.mark.parametrize("name", sorted(variables()))
def test_a_variable_is_a_setting(name: str) -> None:
    if name.startswith("VIBESURF_"):
        assert name.removeprefix("VIBESURF_").lower() in Settings.model_fields
        return
    redis = {
        f"PREFECT_REDIS_{group}_{field}".upper()
        for group, settings in (
            ("messaging", prefect_redis.client.RedisMessagingSettings),
            ("worker_cleanup_queue", prefect_redis.cleanup_queue.RedisWorkerCleanupQueueSettings),
        )
        for field in settings.model_fields
    }
    assert name in redis or hasattr(prefect.settings, name)


def test_the_parts_are_all_there_and_start_again() -> None:
    assert {path.stem for path in UNITS} == {
        f"vibesurf-{part}" for part in ("server", "api", "mirror", "worker")
    }
    for path in UNITS:
        assert unit(path)["Restart"] == "always"
        assert unit(path)["EnvironmentFile"] == "/etc/vibesurf-blocks/env"
    parts = {name: one for name, one in services().items() if name != "setup"}
    assert {one["restart"] for one in parts.values()} == {"always"}
    assert parts["mirror"]["deploy"]["replicas"] == 2
    for name in ("server", "api", "postgres", "redis"):
        assert parts[name]["healthcheck"]["test"]


def test_no_secret_is_in_them() -> None:
    """Passwords are placeholders, or come from the environment of whoever starts the containers."""
    for path in [*FOLDER.rglob("*.yaml"), *FOLDER.rglob("*.env"), *UNITS]:
        for word in re.findall(r"://[^@/\s]*:([^@\s]+)@", path.read_text()):
            assert word.startswith(("<", "${")), (path, word)


@pytest.mark.parametrize(("name", "values"), environments())
def test_what_other_hosts_reach_asks_who_they_are(
    name: str, values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API that is open to all without a token does not start; Prefect's server would."""
    for variable, value in values.items():
        monkeypatch.setenv(variable, value)
    if "VIBESURF_HOST" in values:
        assert Settings().guarded_token
        assert values["PREFECT_API_AUTH_STRING"]
    if "PREFECT_SERVER_API_HOST" in values:
        assert values["PREFECT_SERVER_API_AUTH_STRING"]
    assert {"VIBESURF_HOST", "PREFECT_SERVER_API_HOST"} & {*values} or name in {"postgres", "redis"}


def test_what_is_asked_for_readiness_needs_no_token() -> None:
    for name in ("api", "api-2"):
        assert "/health'" in services()[name]["healthcheck"]["test"][-1]
    asked = unit(FOLDER / "systemd" / "vibesurf-api.service")["ExecStartPost"].split()[-1]
    assert urlsplit(asked).path in PUBLIC


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        unavailable("there is no systemd-analyze here to check unit files with")
    for path in UNITS:
        # It looks for the programs, and for the user's.
        text = path.read_text().replace("/usr/bin/curl", sys.executable)
        text = re.sub(r"/opt/vibesurf-blocks/bin/\S+", sys.executable, text)
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
