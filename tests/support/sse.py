"""Reads streams of server-sent events as a browser does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """One event as it came."""

    kind: str
    data: Json
    id: str

    @property
    def what(self) -> tuple[str, str]:
        """The event without its id, to compare."""
        return self.kind, json.dumps(self.data, sort_keys=True)


async def events(
    base: str, task_id: str, last: str | None = None, *, timeout: float = 60
) -> AsyncIterator[Sent]:
    """The events of a task after one, until the server ends the stream or the caller stops."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with (
        httpx.AsyncClient(base_url=base, trust_env=False, verify=False, timeout=timeout) as client,
        client.stream("GET", f"/tasks/{task_id}/events", headers=headers) as answer,
    ):
        assert answer.status_code in {200, 204}, await answer.aread()
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                fields[name] = value
            elif not line:
                if "data" in fields:
                    yield Sent(fields["event"], json.loads(fields["data"]), fields["id"])
                fields = {}


async def everything(base: str, task_id: str, last: str | None = None) -> list[Sent]:
    """All events after one, to the end of the stream."""
    return [one async for one in events(base, task_id, last)]
