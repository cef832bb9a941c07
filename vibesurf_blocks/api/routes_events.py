"""The route that tells what happens to a task while it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse

from vibesurf_blocks.api.context import PREFECT_SECONDS, Ctx
from vibesurf_blocks.api.event_log import Cursor
from vibesurf_blocks.api.feeds import Feed, stream
from vibesurf_blocks.api.schemas import Problem

router = APIRouter(prefix="/tasks", tags=["tasks"])

_RETRY_SECONDS = 5
_MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def _feed(
    task_id: Annotated[str, Path(max_length=255, description="Id of the task.")], context: Ctx
) -> AsyncIterator[Feed]:
    if await context.store.get(task_id) is None:
        raise HTTPException(404, f"No task has the id {task_id}")
    if context.feeds.clients >= context.settings.event_streams:
        raise HTTPException(
            429,
            "Too many streams of events are open (VIBESURF_EVENT_STREAMS); try again later.",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        )
    async with context.feeds.follow(task_id) as feed:
        async with asyncio.timeout(PREFECT_SECONDS):
            await feed.known()
        yield feed


def _cursor(
    after: Annotated[
        str | None,
        Query(max_length=100, description="Id of the last event that came; only later ones come."),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=100, description="The same, as browsers send it; goes before `after`."),
    ] = None,
) -> Cursor:
    last = last_event_id or after
    return Cursor.parse(last) if last else Cursor()


@router.get(
    "/{task_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events, until the task has ended.",
            "content": {_MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        204: {"description": "The task has ended, and nothing came after this event."},
        400: {"model": Problem},
        404: {"model": Problem},
        429: {"model": Problem},
        503: {"model": Problem},
    },
)
async def task_events(
    cursor: Annotated[Cursor, Depends(_cursor)], feed: Annotated[Feed, Depends(_feed)]
) -> Response:
    """What happens to a task: its states, steps and acknowledgements, and its end.

    Every event has an id to go on after. The stream ends after the event `end`.
    """
    if feed.log.complete(cursor):
        return Response(status_code=204)  # so that a browser does not connect again and again
    return StreamingResponse(stream(feed, cursor), media_type=_MEDIA_TYPE, headers=_HEADERS)
