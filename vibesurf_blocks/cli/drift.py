"""`vibesurf-blocks drift`: how the deployments on the server differ from those in prefect.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.client import connect

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

DRIFTED = 1
"""Exit code where something differs."""

_FIELDS = ("description", "tags", "parameters", "entrypoint", "version", "paused")
_TIMES = ("cron", "interval", "rrule", "timezone", "day_or")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same on both sides.

    Attributes:
        where: The deployment, and what of it.
        file: What the file says.
        server: What the server says.
    """

    where: str
    file: str
    server: str


async def show_drift(path: Path) -> int:
    """Print what differs; returns the exit code, 0 where nothing does.

    Raises:
        InvalidInput: The file cannot be read as a prefect.yaml.
    """
    differences = await drift(path)
    console = Console(highlight=False)
    for one in differences:
        console.print(f"[bold]{one.where}[/]")
        console.print(f"  {path.name}: {one.file}", markup=False)
        console.print(f"  server: {one.server}", markup=False)
    if not differences:
        console.print(f"The server is as {path.name} says.")
    return DRIFTED if differences else 0


async def drift(path: Path) -> list[Difference]:
    """Compare the deployments of a file with those on the server; only what the file says counts.

    Raises:
        InvalidInput: The file cannot be read as a prefect.yaml.
    """
    wanted = _read(path)
    found: list[Difference] = []
    async with connect() as client:
        for one in wanted:
            name = str(one.get("name"))
            candidates = await prefect_deployments.find(client, name)
            same = [
                candidate
                for candidate in candidates
                if candidate.deployment.entrypoint == one.get("entrypoint")
            ]
            if not same:
                found.append(Difference(name, "a deployment", "nothing"))
            else:
                found += compare(same[0].path, one, same[0].deployment)
    return found


def compare(
    where: str, wanted: Mapping[str, Any], deployment: DeploymentResponse
) -> list[Difference]:
    """How a deployment on the server differs from an entry of the file."""
    pairs: list[tuple[str, object, object]] = [
        (field, wanted[field], getattr(deployment, field)) for field in _FIELDS if field in wanted
    ]
    pool = wanted.get("work_pool") or {}
    if "name" in pool:
        pairs.append(("work pool", pool["name"], deployment.work_pool_name))
    if "job_variables" in pool:
        pairs.append(("job variables", pool["job_variables"], deployment.job_variables))
    found = [
        Difference(f"{where} {what}", _shown(file), _shown(server))
        for what, file, server in pairs
        if "{{" not in str(file) and _plain(file) != _plain(server)
    ]
    if "schedules" in wanted:
        found += _schedules(where, wanted["schedules"] or [], deployment)
    return found


def _schedules(
    where: str, wanted: Iterable[Mapping[str, Any]], deployment: DeploymentResponse
) -> list[Difference]:
    there = {str(one.slug or one.id): one for one in deployment.schedules}
    found = []
    for entry in wanted:
        slug = str(entry.get("slug"))
        place = f"{where} schedule {slug}"
        one = there.pop(slug, None)
        if one is None:
            found.append(Difference(place, _shown(entry), "nothing"))
            continue
        server: dict[str, Any] = {
            **one.schedule.model_dump(mode="json"),
            "active": one.active,
            "parameters": one.parameters,
        }
        interval = getattr(one.schedule, "interval", None)
        if isinstance(interval, timedelta):
            server["interval"] = interval.total_seconds()
        for what in (*_TIMES, "active", "parameters"):
            if what in entry and _plain(entry[what]) != _plain(server.get(what)):
                found.append(
                    Difference(f"{place} {what}", _shown(entry[what]), _shown(server.get(what)))
                )
    found += [
        Difference(f"{where} schedule {slug}", "nothing", _shown(one.schedule.model_dump()))
        for slug, one in there.items()
    ]
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise InvalidInput(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} is not YAML: {error}"
        raise InvalidInput(msg) from error
    deployments = read.get("deployments") if isinstance(read, dict) else None
    if not isinstance(deployments, list) or not all(isinstance(one, dict) for one in deployments):
        msg = f"{path} has no list of deployments."
        raise InvalidInput(msg)
    return deployments


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return sorted(json.dumps(_plain(one), sort_keys=True, default=str) for one in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value or None if not isinstance(value, bool) else value


def _shown(value: object) -> str:
    return str(value).strip() if value not in (None, "", [], {}) else "nothing"
