"""Finds LLM profiles: by the name tasks use, and the one that counts where a task names none.

A profile is a Prefect block. Prefect allows only letters, digits and dashes in the name of a
block, so the name that tasks use is a field of it; where that is empty, the block's name counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from vibesurf_blocks.blocks.fields import first_problem
from vibesurf_blocks.blocks.llm_profile import LLMProfile
from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.prefect_api import block_documents
from vibesurf_blocks.tasks import BUILTIN_PROFILE, LLM_PROFILE_TYPE, PROFILE_NAME_LIMIT

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import BlockDocument

_SLUG_LIMIT = 60
_DIGEST_END = re.compile(r"(^|-)[0-9a-f]{12}$")


@dataclass(frozen=True, slots=True)
class Found:
    """A profile as it is in Prefect.

    Attributes:
        name: The name tasks use.
        profile: What it says.
        id: Id of the block document.
        changed: When it was last saved (UTC).
    """

    name: str
    profile: LLMProfile
    id: UUID
    changed: datetime


def document_name(profile_name: str) -> str:
    """The name of the block for a profile of this name: always the same, and no other's."""
    slug = re.sub(r"[^a-z0-9]+", "-", profile_name.lower()).strip("-")[:_SLUG_LIMIT].strip("-")
    if slug == profile_name and not _DIGEST_END.search(slug):
        return slug
    digest = hashlib.sha256(profile_name.encode()).hexdigest()[:12]
    return f"{slug}-{digest}" if slug else digest


def profile_name(document: BlockDocument) -> str | None:
    """The name by which tasks ask for a profile; None where none can."""
    given = document.data.get("profile_name")
    name = given if isinstance(given, str) and given.strip() else document.name
    if name is None or len(name) > PROFILE_NAME_LIMIT or name == BUILTIN_PROFILE:
        return None
    return name


def by_name(documents: Iterable[BlockDocument]) -> dict[str, BlockDocument]:
    """The profiles by name; of several with one name the one that was made first."""
    found: dict[str, BlockDocument] = {}
    for document in sorted(documents, key=_age):
        name = profile_name(document)
        if name is not None:
            found.setdefault(name, document)
    return found


def default_of(profiles: Mapping[str, BlockDocument]) -> str | None:
    """Name of the default profile: of the active ones that say so the one saved last."""
    marked = [
        (_saved(document), name)
        for name, document in profiles.items()
        if document.data.get("default") is True and document.data.get("active", True) is True
    ]
    return max(marked)[1] if marked else None


async def find_profile(client: PrefectClient, name: str) -> Found | None:
    """The profile of this name, with its secrets; None where there is none.

    Raises:
        ModelError: There is one, and what it says cannot be.
    """
    return await _read(client, by_name(await _documents(client)), name)


async def default_profile(client: PrefectClient) -> Found | None:
    """The profile that counts where a task names none; None where none is marked so.

    Raises:
        ModelError: There is one, and what it says cannot be.
    """
    profiles = by_name(await _documents(client))
    return await _read(client, profiles, default_of(profiles))


def profile_of(data: Mapping[str, Any], name: str) -> LLMProfile:
    """The profile that a block document holds.

    Raises:
        ModelError: What it says cannot be; the message names the field and holds no secret.
    """
    try:
        return LLMProfile.model_validate(dict(data))
    except ValidationError as error:
        msg = (
            f"LLM profile {name!r} cannot be used: {first_problem(error)}. Correct its block in "
            "the Prefect UI (Blocks) and try again."
        )
        raise ModelError(msg) from None


def usable(name: str, found: Found | None) -> Found:
    """The profile, where there is one that may be used.

    Raises:
        ModelError: There is none of this name, or it is not active.
    """
    if found is None:
        msg = (
            f"LLM profile {name!r} does not exist. Make it in the Prefect UI (Blocks, LLM Profile) "
            f"or name another; {BUILTIN_PROFILE!r} is the built-in reader, which needs no model."
        )
        raise ModelError(msg)
    if not found.profile.active:
        msg = (
            f"LLM profile {name!r} is not active. Switch it on in its block in the Prefect UI, or "
            "name another."
        )
        raise ModelError(msg)
    return found


async def _documents(client: PrefectClient) -> list[BlockDocument]:
    return await block_documents.of_type(client, LLM_PROFILE_TYPE)


async def _read(
    client: PrefectClient, profiles: Mapping[str, BlockDocument], name: str | None
) -> Found | None:
    if name is None or name not in profiles:
        return None
    document = await block_documents.with_secrets(client, profiles[name].id)
    if document is None:
        return None
    profile = profile_of(document.data, name)
    return Found(name=name, profile=profile, id=document.id, changed=_saved(document))


def _age(document: BlockDocument) -> tuple[datetime, UUID]:
    assert document.created is not None  # noqa: S101 - the server sets it
    return document.created, document.id


def _saved(document: BlockDocument) -> datetime:
    assert document.updated is not None  # noqa: S101 - the server sets it
    return document.updated
