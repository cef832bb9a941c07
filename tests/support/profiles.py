"""LLM profiles for tests, made as the Prefect UI makes them: whatever they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate, BlockDocumentUpdate
from prefect.exceptions import ObjectNotFound

from tests.support.eventually import eventually
from tests.support.model_server import ModelServer, fails
from tests.support.tasks import body
from vibesurf_blocks.tasks import LLM_PROFILE_TYPE

KEY = "sk-test-c0ffee-this-must-be-told-to-nobody"


@asynccontextmanager
async def profile(client: PrefectClient, name: str, **data: Any) -> AsyncIterator[UUID]:
    """A profile while the block runs; the id of its document."""
    given = {
        "profile_name": name,
        "provider": "openai-compatible",
        "model": "m-1",
        "api_key": KEY,
        **data,
    }
    async with block(client, LLM_PROFILE_TYPE, f"test-{uuid4().hex[:12]}", **given) as document:
        yield document


@asynccontextmanager
async def block(client: PrefectClient, slug: str, name: str, **data: Any) -> AsyncIterator[UUID]:
    """A block document while the block runs; its id."""
    kind = await client.read_block_type_by_slug(slug)
    schema = await client.get_most_recent_block_schema_for_block_type(kind.id)
    assert schema is not None
    document = await client.create_block_document(
        BlockDocumentCreate(name=name, block_type_id=kind.id, block_schema_id=schema.id, data=data)
    )
    try:
        yield document.id
    finally:
        with suppress(ObjectNotFound):
            await client.delete_block_document(document.id)


async def edit(client: PrefectClient, document: UUID, **data: Any) -> None:
    """Save other values in a block, as the UI does."""
    await client.update_block_document(
        document, BlockDocumentUpdate(data=data, merge_existing_data=True)
    )


async def warm(api: httpx.AsyncClient, prefect: PrefectClient, model: ModelServer) -> None:
    """Wait until the API has imported the client: on a busy machine that takes a while."""
    model.otherwise = fails(401)
    async with profile(prefect, "warm", base_url=model.url):

        async def asked() -> bool:
            return "refused the API key" in (await ask(api, "warm"))["message"]

        await eventually(asked, timeout=90)
    model.clear()


async def ask(api: httpx.AsyncClient, name: str, **more: object) -> dict[str, Any]:
    """Submit a task for a profile; the answer, which holds no key."""
    answer = await api.post("/tasks/submit", json=body("Do it", llm_profile_name=name, **more))
    assert answer.status_code == httpx.codes.OK, answer.text
    assert KEY not in answer.text
    said: dict[str, Any] = answer.json()
    return said
