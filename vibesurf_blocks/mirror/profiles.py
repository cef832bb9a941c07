"""Keeps the rows of `llm_profiles` in step with the blocks, whoever edits them.

Prefect tells of each named block that is saved or deleted; now and then they are read regardless.
No secret is ever read here: Prefect is asked for the documents without them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vibesurf_blocks.blocks.llm_profile import LLMProfile
from vibesurf_blocks.mirror.rows import profile_name
from vibesurf_blocks.models.profiles import by_name, default_of
from vibesurf_blocks.prefect_api import block_documents, run_secrets
from vibesurf_blocks.tables.records import ProfileRecord
from vibesurf_blocks.tasks import LLM_PROFILE_TYPE

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import BlockDocument, FlowRun

    from vibesurf_blocks.tables.profiles import ProfileStore
    from vibesurf_blocks.tables.tasks import TaskStore

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.5
"""Seconds after an event at which is looked once more: it is sent before its change is written."""

_READ_SECONDS = 20.0
_SECRETS = {"api_key", "provider_secrets"}
_DEFAULTS = {
    name: field.default
    for name, field in LLMProfile.model_fields.items()
    if not field.is_required()
}


def records_of(
    documents: Collection[BlockDocument], last_used: Mapping[str, datetime | None]
) -> list[ProfileRecord]:
    """The rows of all profiles.

    Args:
        documents: The blocks, without their secrets.
        last_used: When a task last used the profile of a name.
    """
    profiles = by_name(documents)
    default = default_of(profiles)
    return [
        _record(name, document, last_used.get(name), is_default=name == default)
        for name, document in profiles.items()
    ]


def _record(
    name: str, document: BlockDocument, last_used: datetime | None, *, is_default: bool
) -> ProfileRecord:
    said, right = _readable(document.data)
    # Prefect masks secrets that are null, too, where the field holds several.
    several = document.data.get("provider_secrets")
    has_secrets = bool(document.data.get("api_key") or (isinstance(several, dict) and several))
    assert document.created is not None  # noqa: S101 - the server sets it
    assert document.updated is not None  # noqa: S101 - the server sets it
    return ProfileRecord(
        profile_id=str(document.id),
        profile_name=name,
        provider=said.get("provider") or "",
        model=said.get("model") or "",
        base_url=said["base_url"],
        encrypted_api_key=(
            f"prefect.blocks.{LLM_PROFILE_TYPE}.{document.name}" if has_secrets else None
        ),
        temperature=said["temperature"],
        max_tokens=said["max_tokens"],
        top_p=said["top_p"],
        frequency_penalty=said["frequency_penalty"],
        seed=said["seed"],
        provider_config=said["provider_config"] or None,
        description=said["description"],
        # Of a profile that cannot be used none of the wrong fields is shown.
        is_active=said["active"] and right,
        is_default=is_default,
        created_at=document.created,
        updated_at=document.updated,
        last_used_at=last_used,
    )


def _readable(data: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The fields of a profile, wrong ones left at their defaults; whether all are right.

    Prefect takes what it is given: neither its UI nor its API asks our block whether it can be.
    """
    given = {name: data[name] for name in LLMProfile.model_fields if name in data.keys() - _SECRETS}
    try:
        return dict(LLMProfile.model_validate(given)), True
    except ValidationError as error:
        wrong = {one["loc"][0] for one in error.errors(include_input=False) if one["loc"]}
        right = {name: value for name, value in given.items() if name not in wrong}
        return {**_DEFAULTS, "provider_config": {}, **right}, False


class ProfileMirror:
    """Writes the rows of `llm_profiles` from what Prefect knows."""

    def __init__(
        self,
        client: PrefectClient,
        store: ProfileStore,
        tasks: TaskStore,
        reconcile_seconds: float,
    ) -> None:
        """Look at each event, and every `reconcile_seconds` (s)."""
        self._client = client
        self._store = store
        self._tasks = tasks
        self._reconcile_seconds = reconcile_seconds
        self._last_used: dict[str, datetime | None] = {}
        self._wake = asyncio.Event()

    def edited(self) -> None:
        """Note that a block was saved or deleted, or that this may have been missed."""
        self._wake.set()

    def started(self, run: FlowRun) -> None:
        """Note that a run was started: it uses a profile."""
        name = profile_name(run)
        if name in self._last_used and run.start_time is not None:
            last = self._last_used[name]
            if last is None or last < run.start_time:
                self._last_used[name] = run.start_time
                self._wake.set()

    async def run(self) -> None:
        """Mirror until cancelled."""
        again = False
        while True:
            wait = _AGAIN_SECONDS if again else self._reconcile_seconds
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    await self.look()
                    if not again:
                        await run_secrets.sweep(self._client)
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                logger.warning("The LLM profiles could not be mirrored (%r); trying again.", error)
            again = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
                again = True
            self._wake.clear()

    async def look(self) -> None:
        """Read all profiles once and write what is no longer as it was."""
        documents = await block_documents.of_type(self._client, LLM_PROFILE_TYPE)
        profiles = by_name(documents)
        names = profiles.keys()
        unknown = names - self._last_used.keys()
        if unknown:
            # Of a task that was pruned only the profile's row tells.
            said = {row.profile_id: row.last_used_at for row in await self._store.all()}
            ids = {name: str(document.id) for name, document in profiles.items()}
            for name in unknown:
                lasts = [await self._tasks.last_use(name), said.get(ids[name])]
                self._last_used[name] = max((one for one in lasts if one), default=None)
        for name in self._last_used.keys() - names:
            del self._last_used[name]
        await self._store.replace(records_of(documents, self._last_used))
