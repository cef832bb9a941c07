"""Routes under `/tasks/batch`: many tasks as one piece of work."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path

from vibesurf_blocks.api.batches import (
    BatchAccepted,
    BatchStatus,
    batch_status,
    retry_batch,
    submit_batch,
)
from vibesurf_blocks.api.context import Ctx
from vibesurf_blocks.api.schemas import NoModel, Problem
from vibesurf_blocks.batches.order import Batch

router = APIRouter(prefix="/tasks/batch", tags=["batches"])


@router.post("", responses={400: {"model": Problem}, 503: {"model": Problem}})
async def submit_tasks(
    body: Batch,
    context: Ctx,
    idempotency_key: Annotated[
        str | None, Header(description="Makes a repeated request safe: it starts no second batch.")
    ] = None,
) -> BatchAccepted | NoModel:
    """Submit a list of tasks as one batch; `POST /tasks/{batch_id}/stop` stops it."""
    return await submit_batch(context, body, idempotency_key)


@router.get("/{batch_id}", responses={400: {"model": Problem}, 404: {"model": Problem}})
async def get_batch(batch_id: Annotated[str, Path(max_length=255)], context: Ctx) -> BatchStatus:
    """How far a batch is: its own status, and each item's."""
    return await batch_status(context, batch_id)


@router.post("/{batch_id}/retry", responses={404: {"model": Problem}, 409: {"model": Problem}})
async def retry(batch_id: Annotated[str, Path(max_length=255)], context: Ctx) -> BatchStatus:
    """Run what is missing of a batch that has ended; what was completed is not run again."""
    return await retry_batch(context, batch_id)
