"""What a shell offers for ids and names, asked of the API if it answers at once."""

from __future__ import annotations

from typing import Final

from vibesurf_blocks.settings import Settings

_SECONDS: Final = 1.0
_MOST: Final = 50


def task_ids(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest tasks, with what they are."""
    try:
        from vibesurf_blocks.cli.client import Api

        with Api(Settings().client_url, seconds=_SECONDS) as api:
            rows = api.get("/tasks", limit=_MOST)["tasks"]
        return [
            (row["task_id"], f"{row['status']}: {row['task_description'][:60]}")
            for row in rows
            if row["task_id"].startswith(incomplete)
        ]
    except Exception:  # noqa: BLE001 - a shell that completes nothing is better than one that complains
        return []


def schedule_names(incomplete: str) -> list[tuple[str, str]]:
    """Names of the schedules, with when they fire."""
    try:
        from vibesurf_blocks.cli.client import Api

        with Api(Settings().client_url, seconds=_SECONDS) as api:
            rows = api.get("/schedule")
        return [
            (row["flow_id"], row["cron_expression"] or "no cron")
            for row in rows
            if row["flow_id"].startswith(incomplete)
        ]
    except Exception:  # noqa: BLE001
        return []
