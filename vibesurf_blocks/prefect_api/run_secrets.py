"""Keeps the secrets of a task apart from its parameters, which Prefect shows to everybody.

They are an anonymous document of Prefect's own block type `secret`: encrypted at rest, and not
listed in the UI. A tag names it; the run, or the deployment whose runs inherit the tag, finds it by
that. So whoever runs the task, and however often it is started again, gets them, until the last
that has the tag is gone: then the mirror deletes them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.prefect_api.block_documents import anonymous, with_secrets
from vibesurf_blocks.prefect_api.runs import in_states

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

SECRETS_TAG: Final = "vibesurf-secrets:"
"""Begins the tag that names the document."""

Secrets = Mapping[str, Mapping[str, str]]
"""Environment variables by MCP server."""

_TYPE: Final = "secret"
_NAME: Final = "vibesurf-task-"
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.1
_UNUSED: Final = timedelta(minutes=10)
"""How long a document is left alone that nothing has the tag of yet."""


async def keep(client: PrefectClient, values: Secrets) -> list[str]:
    """Keep the secrets of a task.

    Returns:
        The tags that its run or deployment is to have; none where there are no secrets.

    Raises:
        Unavailable: The Prefect server has no block type for secrets.
    """
    if not any(values.values()):
        return []
    try:
        kind = await client.read_block_type_by_slug(_TYPE)
    except ObjectNotFound:
        kind = None
    schema = await client.get_most_recent_block_schema_for_block_type(kind.id) if kind else None
    if kind is None or schema is None:
        msg = "The Prefect server has no block type 'secret' to keep the task's secrets in."
        raise Unavailable(msg)
    value = json.dumps({name: dict(env) for name, env in values.items()})
    for attempt in range(1, _ATTEMPTS + 1):
        wanted = BlockDocumentCreate(
            name=f"{_NAME}{secrets.token_hex(8)}",
            data={"value": value},
            block_schema_id=schema.id,
            block_type_id=kind.id,
            is_anonymous=True,
        )
        try:
            document = await client.create_block_document(wanted)
        except (ObjectAlreadyExists, httpx.HTTPStatusError):
            # On a new server several first documents at once each make the key that encrypts them
            # all: one of them gets its way, and the others are refused.
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(attempt * _PAUSE_SECONDS)
        else:
            return [f"{SECRETS_TAG}{document.id}"]
    raise AssertionError  # pragma: no cover - the loop returns or raises


async def read(client: PrefectClient, tags: Iterable[str]) -> Secrets:
    """The secrets that a run with these tags has; none where they are gone."""
    found: dict[str, dict[str, str]] = {}
    for document_id in _ids(tags):
        document = await with_secrets(client, document_id)
        if document is not None:
            found |= json.loads(document.data["value"])
    return found


async def drop(client: PrefectClient, tags: Iterable[str]) -> None:
    """Delete the secrets that these tags name."""
    for document_id in _ids(tags):
        try:
            await client.delete_block_document(document_id)
        except ObjectNotFound:
            continue


async def sweep(client: PrefectClient) -> int:
    """Delete the secrets that nobody needs any more; returns how many."""
    gone = 0
    for document in await anonymous(client, _TYPE, _NAME):
        tag = f"{SECRETS_TAG}{document.id}"
        if not await _needed(client, tag, document.created):
            await drop(client, [tag])
            gone += 1
    return gone


async def _needed(client: PrefectClient, tag: str, created: datetime | None) -> bool:
    tagged = FlowRunFilterTags(all_=[tag])
    just_made = created is not None and datetime.now(UTC) - created <= _UNUSED
    any_run = FlowRunFilter(tags=tagged)
    # Of what was just made the run or deployment may be on its way. Asked before the others: a run
    # that is made in between would be taken for one that has ended.
    if just_made and not await client.read_flow_runs(flow_run_filter=any_run, limit=1):
        return True
    unfinished = in_states([one for one in StateType if one not in TERMINAL_STATES])
    unfinished.tags = tagged
    if await client.read_flow_runs(flow_run_filter=unfinished, limit=1):
        return True
    deployments = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
    return bool(await client.read_deployments(deployment_filter=deployments, limit=1))


def without_tags(tags: Iterable[str]) -> list[str]:
    """The tags less those that name secrets."""
    return [tag for tag in tags if not tag.startswith(SECRETS_TAG)]


def _ids(tags: Iterable[str]) -> list[UUID]:
    found = []
    for tag in tags:
        if tag.startswith(SECRETS_TAG):
            try:
                found.append(UUID(tag.removeprefix(SECRETS_TAG)))
            except ValueError:
                logger.warning("The tag %r names no secrets.", tag)
    return found
