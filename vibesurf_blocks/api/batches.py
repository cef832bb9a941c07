"""Batches over REST: submits one as a flow run, and tells how far it is by the runs it has."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Final, Literal
from uuid import UUID, uuid4

import httpx
from fastapi.exceptions import RequestValidationError
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry
from pydantic import BaseModel, Field, ValidationError

from vibesurf_blocks.api.context import PREFECT_SECONDS
from vibesurf_blocks.api.parameters import check_parameters
from vibesurf_blocks.api.schemas import NoModel
from vibesurf_blocks.api.submit import asking, creating
from vibesurf_blocks.batches.files import items_of_batch
from vibesurf_blocks.batches.order import Batch, BatchItem
from vibesurf_blocks.batches.progress import Progress
from vibesurf_blocks.errors import Conflict, InvalidInput, NotFound, Unavailable
from vibesurf_blocks.prefect_api import children as prefect_children
from vibesurf_blocks.prefect_api.labels import REQUEST
from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.prefect_api.submissions import digest
from vibesurf_blocks.tables.records import Moment
from vibesurf_blocks.tasks import BATCH_DEPLOYMENT, BATCH_FLOW, BUILTIN_PROFILE, Status
from vibesurf_blocks.workspace import prepare_session, resolve_upload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.api.context import Context
    from vibesurf_blocks.prefect_api.children import Child

_PATH: Final = f"{BATCH_FLOW}/{BATCH_DEPLOYMENT}"
_KEY_LIMIT: Final = 255
_INLINE_LIMIT: Final = 200_000
"""Bytes of items that travel as a parameter; more lie in a file, as Prefect limits parameters."""


class BatchAccepted(BaseModel):
    """The batch was accepted; its tasks get their rows as they fall due."""

    success: Literal[True] = True
    batch_id: str
    session_id: str
    status: Literal["submitted"] = "submitted"
    total: Annotated[int, Field(description="Items of the batch.")]
    message: str


class BatchItemStatus(BaseModel):
    """How far one item is."""

    id: str
    status: Annotated[Status, Field(description="Of its newest try; pending before the first.")]
    tries: Annotated[int, Field(description="Runs made for it so far.")]
    task_id: Annotated[str | None, Field(description="The newest of them: the row of a task.")]
    session_id: str | None
    error: Annotated[str | None, Field(description="Why it failed or was stopped.")]


class BatchStatus(BaseModel):
    """How far a batch is."""

    batch_id: str
    session_id: str
    status: Status
    message: Annotated[str | None, Field(description="What came of it, once it has ended.")]
    created_at: Moment | None
    started_at: Moment | None
    completed_at: Moment | None
    total: int
    counts: Annotated[dict[Status, int], Field(description="Items by their status.")]
    items: list[BatchItemStatus]


async def submit_batch(context: Context, body: Batch, key: str | None) -> BatchAccepted | NoModel:
    """Start a batch.

    Args:
        context: The parts to work with.
        body: What is asked.
        key: The client's `Idempotency-Key`; a repeated request gets the answer of the first.

    Raises:
        InvalidInput: The key, the file or an item's upload cannot be; nothing was created.
        RequestValidationError: An item is too large for Prefect.
        Unavailable: Nothing can run the batch now, and nothing was created; or it may have been
            created all the same, and it says so.
    """
    if key is not None and not 1 <= len(key) <= _KEY_LIMIT:
        msg = f"Idempotency-Key must have 1 to {_KEY_LIMIT} characters."
        raise InvalidInput(msg)
    workspace = context.settings.workspace_dir
    items = await asyncio.to_thread(items_of_batch, body, workspace)
    await asyncio.to_thread(_check_uploads, workspace, body, items)
    await asyncio.to_thread(_check_sizes, body, items)
    if (refusal := await _check_profiles(context, body, items)) is not None:
        return refusal
    parameters = body.model_dump(mode="json", exclude_none=True)
    request = digest(json.dumps(parameters, sort_keys=True))
    async with asking():
        deployment = await _deployment(context)
        if body.items is not None and len(json.dumps(parameters["items"])) > _INLINE_LIMIT:
            name = await asyncio.to_thread(_keep, workspace, body, request, parameters.pop("items"))
            parameters["items_file"] = name
    async with creating():
        run = await context.client.create_flow_run_from_deployment(
            deployment,
            parameters=parameters,
            name=f"{body.session_id[:60]}-{uuid4().hex[:8]}",
            labels={REQUEST: request},
            idempotency_key=f"request-{digest(key)}" if key is not None else None,
        )
    if run.labels.get(REQUEST) != request:
        msg = "This Idempotency-Key was used with another body; use a new key for a new batch."
        raise InvalidInput(msg)
    return BatchAccepted(
        batch_id=str(run.id),
        session_id=body.session_id,
        total=len(items),
        message="Batch submitted successfully",
    )


async def retry_batch(context: Context, batch_id: str) -> BatchStatus:
    """Run what is missing of a batch that has ended.

    Raises:
        NotFound: There is no batch with this id.
        Conflict: It has not ended, or nothing is missing.
    """
    status = await batch_status(context, batch_id)
    if not status.status.terminal:
        raise Conflict(f"The batch {batch_id} has not ended")
    if status.status is Status.COMPLETED:
        raise Conflict(f"Nothing is missing of the batch {batch_id}: all items completed")
    async with asyncio.timeout(PREFECT_SECONDS):
        await _deployment(context)
        # As the Prefect UI's Retry does: the same run, with the children it has.
        await context.client.set_flow_run_state(
            UUID(batch_id), AwaitingRetry(message="Retried on request."), force=True
        )
    return await batch_status(context, batch_id)


async def batch_status(context: Context, batch_id: str) -> BatchStatus:
    """How far a batch is, as Prefect has it now.

    Raises:
        NotFound: There is no batch with this id.
        InvalidInput: Its file of items is gone or was broken since.
    """
    missing = NotFound(f"No batch has the id {batch_id}")
    async with asyncio.timeout(PREFECT_SECONDS):
        try:
            run = await context.client.read_flow_run(UUID(batch_id))
        except (ValueError, ObjectNotFound):
            raise missing from None
        flow = await context.client.read_flow(run.flow_id)
        if flow.name != BATCH_FLOW:
            raise missing
        found = await prefect_children.of_parent(context.client, run.id)
    try:
        batch = Batch.model_validate(run.parameters)
    except ValidationError as error:
        msg = f"The batch {batch_id} was started with parameters that cannot be run"
        raise InvalidInput(msg) from error
    items = await asyncio.to_thread(items_of_batch, batch, context.settings.workspace_dir)
    return _status(run, Progress.of(batch, items, 0, found))


def _status(run: FlowRun, progress: Progress) -> BatchStatus:
    status = status_of(run.state)
    return BatchStatus(
        batch_id=str(run.id),
        session_id=progress.batch.session_id,
        status=status,
        message=run.state.message if run.state is not None and status.terminal else None,
        created_at=run.created,
        started_at=run.start_time,
        completed_at=run.end_time if status.terminal else None,
        total=len(progress.entries),
        counts=progress.counts,
        items=[_item(entry.name, entry.last, entry.runs) for entry in progress.entries.values()],
    )


def _item(name: str, last: Child | None, tries: int) -> BatchItemStatus:
    if last is None:
        return BatchItemStatus(
            id=name, status=Status.PENDING, tries=0, task_id=None, session_id=None, error=None
        )
    state = last.run.state
    status = status_of(state)
    told = status in {Status.FAILED, Status.STOPPED} and state is not None
    return BatchItemStatus(
        id=name,
        status=status,
        tries=tries,
        task_id=str(last.run.id),
        session_id=str(last.run.parameters.get("session_id")),
        error=state.message if told and state is not None else None,
    )


async def _deployment(context: Context) -> UUID:
    """The deployment of batches, where a worker is online to run it.

    Raises:
        Unavailable: There is none, or no worker.
    """
    pool = context.settings.parents_pool
    try:
        deployment = await context.client.read_deployment_by_name(_PATH)
        workers = await context.client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        workers = []
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        workers = []
    else:
        if any(worker.status is WorkerStatus.ONLINE for worker in workers):
            return deployment.id
    msg = (
        f"Nothing runs batches: the deployment {_PATH!r} is missing, or no worker of the work pool "
        f"{pool!r} is online. `vibesurf-blocks up` brings both; a worker started with `prefect "
        f"worker start --pool {context.settings.pool}` serves that pool too."
    )
    raise Unavailable(msg)


async def _check_profiles(
    context: Context, body: Batch, items: Mapping[str, BatchItem]
) -> NoModel | None:
    """See that each model that is wanted answers."""
    wanted = {item.llm_profile_name or body.llm_profile_name for item in items.values()}
    for name in sorted(one for one in wanted if one is not None and one != BUILTIN_PROFILE):
        problem = (await context.check_model(name)).problem
        if problem is not None:
            return NoModel(message=problem, llm_profile=name)
    return None


def _check_uploads(workspace: Path, body: Batch, items: Mapping[str, BatchItem]) -> None:
    for name, item in items.items():
        if item.upload_files_path is not None:
            session = item.session_id or body.session_id
            try:
                resolve_upload(workspace, session, item.upload_files_path)
            except InvalidInput as error:
                msg = f"item {name!r}: upload_files_path {error.message}"
                raise InvalidInput(msg) from error


def _check_sizes(body: Batch, items: Mapping[str, BatchItem]) -> None:
    longest = "s" * 255  # in parallel mode an item gets a session of its own
    for number, (name, item) in enumerate(items.items()):
        task = body.task(item, longest).model_dump(mode="json")
        try:
            check_parameters(task, "body", "items", number)
        except RequestValidationError as error:
            if body.items is not None:
                raise
            raise InvalidInput(f"item {name!r}: {error.errors()[0]['msg']}") from error


def _keep(workspace: Path, body: Batch, request: str, items: object) -> str:
    """Lay items into the session's uploads; the name says what is in it, so it is written once.

    Raises:
        InvalidInput: The session's folder leads out of the workspace.
        Unavailable: It cannot be written to.
    """
    try:
        prepare_session(workspace, body.session_id)
        path = resolve_upload(workspace, body.session_id, ".") / f"batch_{request}.json"
        if not path.exists():
            fresh = path.with_suffix(f".{uuid4().hex}.new")
            fresh.write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
            fresh.replace(path)
    except OSError as error:
        msg = f"The items cannot be kept in the workspace: {error.strerror}."
        raise Unavailable(msg) from error
    return path.name
