"""Block documents: all of one type, and one of them with its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import httpx
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from vibesurf_blocks.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_PAGE: Final = 200

DOCUMENT_EVENTS: Final = "prefect.block-document."
"""Beginning of the events of created, updated and deleted block documents."""


async def of_type(client: PrefectClient, slug: str) -> list[BlockDocument]:
    """All named documents of a block type, without their secrets; none of an unknown type."""
    try:
        # The server takes neither limit nor offset here: it returns them all.
        return await client.read_block_documents_by_type(slug, include_secrets=False)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return []
        raise


async def with_secrets(client: PrefectClient, document_id: UUID) -> BlockDocument | None:
    """The document of this id with its secrets, None where it is gone."""
    try:
        return await client.read_block_document(document_id, include_secrets=True)
    except ObjectNotFound:
        return None


async def named(client: PrefectClient, slug: str, name: str) -> BlockDocument | None:
    """The document of this type and name with its secrets, None where there is none."""
    try:
        return await client.read_block_document_by_name(name, slug, include_secrets=True)
    except ObjectNotFound:
        return None


async def create(
    client: PrefectClient, slug: str, name: str, data: Mapping[str, Any]
) -> BlockDocument:
    """Make a document of a block type; its secrets are plain in `data`, and encrypted there.

    Raises:
        Conflict: There is one of this name.
        Unavailable: The server does not know the block type.
    """
    try:
        kind = await client.read_block_type_by_slug(slug)
    except ObjectNotFound:
        kind = None
    schema = await client.get_most_recent_block_schema_for_block_type(kind.id) if kind else None
    if kind is None or schema is None:
        msg = (
            f"The Prefect server does not know the block type {slug!r}. Start `vibesurf-blocks up` "
            "once against it, or run `prefect block register -m vibesurf_blocks`."
        )
        raise Unavailable(msg)
    wanted = BlockDocumentCreate(
        name=name, data=dict(data), block_type_id=kind.id, block_schema_id=schema.id
    )
    try:
        return await client.create_block_document(wanted)
    except ObjectAlreadyExists:
        msg = f"There is a block {slug}/{name} already."
        raise Conflict(msg) from None


async def anonymous(client: PrefectClient, slug: str, beginning: str) -> list[BlockDocument]:
    """The documents of a type that are listed nowhere and whose name begins so, without secrets."""
    found: list[BlockDocument] = []
    offset = 0
    while True:
        # The client's own method has no filter for them.
        answer = await client.request(
            "POST",
            "/block_documents/filter",
            json={
                "block_documents": {"is_anonymous": {"eq_": True}},
                "block_types": {"slug": {"any_": [slug]}},
                "include_secrets": False,
                "limit": _PAGE,
                "offset": offset,
            },
        )
        answer.raise_for_status()
        page = [BlockDocument.model_validate(one) for one in answer.json()]
        found += [one for one in page if (one.name or "").startswith(beginning)]
        if len(page) < _PAGE:
            return found
        offset += _PAGE
