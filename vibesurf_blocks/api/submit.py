"""Submitting a task: slot, profile, model, then exactly one run and its row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from fastapi.exceptions import RequestValidationError
from prefect.exceptions import PrefectException
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks.api.context import PREFECT_SECONDS
from vibesurf_blocks.api.parameters import check_parameters
from vibesurf_blocks.api.schemas import (
    Accepted,
    Busy,
    Enqueued,
    NoModel,
    SubmitBody,
    SubmitRequest,
    active_task,
)
from vibesurf_blocks.errors import InvalidInput, Unavailable
from vibesurf_blocks.prefect_api import run_secrets
from vibesurf_blocks.prefect_api.labels import REQUEST
from vibesurf_blocks.prefect_api.submissions import digest, made_by
from vibesurf_blocks.tasks import BUILTIN_PROFILE, AgentTask
from vibesurf_blocks.workspace import resolve_upload

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from pydantic import JsonValue

    from vibesurf_blocks.api.context import Context
    from vibesurf_blocks.prefect_api.submissions import Situation

_KEY_LIMIT = 255
_NOTHING = (
    "The Prefect server does not answer; see that it runs and try again. Nothing was created."
)


async def submit(
    context: Context, body: SubmitRequest, key: str | None
) -> Accepted | Busy | NoModel:
    """Submit a task, which is refused or waits where another one is active.

    Args:
        context: The parts to work with.
        body: What is asked.
        key: The client's `Idempotency-Key`; a repeated request gets the answer of the first.

    Raises:
        InvalidInput: The key is too long or was used with another body.
        RequestValidationError: The upload path leads out of the session's uploads, or the task
            is too large for Prefect.
        Unavailable: Nothing can run the task now, and nothing was created; or it may have been
            created all the same, and it says so.
    """
    if key is not None and not 1 <= len(key) <= _KEY_LIMIT:
        msg = f"Idempotency-Key must have 1 to {_KEY_LIMIT} characters."
        raise InvalidInput(msg)
    if body.upload_files_path is not None:
        await asyncio.to_thread(check_upload, context, body)
    check_parameters(run_parameters(body), "body")
    request = digest(json.dumps(body.model_dump(mode="json"), sort_keys=True))
    if body.on_busy == "enqueue":
        return await _enqueue(context, body, key, request)
    async with asking():
        if key is not None and (earlier := await context.submitter.earlier(key)) is not None:
            return await _repeated(context, body, earlier, request)
        situation = await context.situation()
        if situation.active is not None:
            return await _taken(context, body, situation.active, key, request)
    if body.llm_profile_name != BUILTIN_PROFILE:
        checked = await context.check_model(body.llm_profile_name)
        if checked.problem is not None:
            return NoModel(message=checked.problem, llm_profile=body.llm_profile_name)
    async with asking():
        if body.llm_profile_name != BUILTIN_PROFILE and checked.asked:
            # Seconds have passed: somebody else may have the slot by now.
            situation = await context.situation()
            if situation.active is not None:
                return await _taken(context, body, situation.active, key, request)
        _see_that_somebody_works(context, situation)
    await see_that_tables_answer(context)
    async with asking():
        secrets = await keep_secrets(context, body)
    async with creating():
        submission = await context.submitter.submit(
            run_parameters(body),
            previous=situation.previous,
            session_id=body.session_id,
            request=request,
            key=key,
            priority=body.priority,
            tags=secrets,
        )
        if not set(secrets) <= set(submission.run.tags):
            await run_secrets.drop(context.client, secrets)
    if not submission.accepted:
        return await _taken(context, body, submission.run, key, request)
    if submission.run.labels.get(REQUEST) != request:
        return await _repeated(context, body, submission.run, request)
    await _write_row(context, submission.run)
    return _accepted(context, body, submission.run)


async def _enqueue(
    context: Context, body: SubmitRequest, key: str | None, request: str
) -> Enqueued | NoModel:
    """Have a run made that waits for its turn, unless an earlier request with the key did."""
    run: FlowRun | None = None
    if key is not None:
        async with asking():
            run = await context.submitter.earlier(key)
    if run is None:
        if body.llm_profile_name != BUILTIN_PROFILE:
            checked = await context.check_model(body.llm_profile_name)
            if checked.problem is not None:
                return NoModel(message=checked.problem, llm_profile=body.llm_profile_name)
        async with context.enqueueing:
            async with asking():
                _see_that_somebody_works(context, await context.situation())
            await see_that_tables_answer(context)
            async with asking():
                secrets = await keep_secrets(context, body)
            async with creating():
                run = await context.submitter.enqueue(
                    run_parameters(body),
                    session_id=body.session_id,
                    request=request,
                    key=key,
                    priority=body.priority,
                    tags=secrets,
                )
                if not set(secrets) <= set(run.tags):
                    await run_secrets.drop(context.client, secrets)
    accepted = await _repeated(context, body, run, request)
    position = await context.store.place(accepted.task_id)
    active = await context.active()
    queued = position > 0 and active is not None and active.task_id != accepted.task_id
    return Enqueued(**accepted.model_dump(), queued=queued, position=position)


@asynccontextmanager
async def asking() -> AsyncIterator[None]:
    """Give Prefect its time for what comes before anything is created.

    Raises:
        Unavailable: It does not answer.
    """
    try:
        async with asyncio.timeout(PREFECT_SECONDS):
            yield
    except (TimeoutError, httpx.TransportError) as error:
        raise Unavailable(_NOTHING) from error


@asynccontextmanager
async def creating() -> AsyncIterator[None]:
    """Give Prefect its time to create a run; without its answer it may have done so.

    Raises:
        Unavailable: It does not answer.
    """
    try:
        async with asyncio.timeout(PREFECT_SECONDS):
            yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unavailable(_NOTHING) from error
    except (TimeoutError, httpx.TransportError) as error:
        msg = (
            "The Prefect server did not say whether it took this: look there before you ask again. "
            "A request with an Idempotency-Key may be repeated at once."
        )
        raise Unavailable(msg) from error


async def see_that_tables_answer(context: Context) -> None:
    """Refuse a task whose row could not be written.

    Raises:
        Unavailable: The database of the tables does not answer; nothing was created.
    """
    try:
        async with asyncio.timeout(PREFECT_SECONDS):
            await context.database.check()
    except (DBAPIError, TimeoutError) as error:
        msg = f"The database {context.database} does not answer. Nothing was created."
        raise Unavailable(msg) from error


async def _write_row(context: Context, run: FlowRun) -> None:
    """Write the row of a run that was created.

    Raises:
        Unavailable: It could not be written.
    """
    try:
        async with asyncio.timeout(PREFECT_SECONDS):
            await context.sync.runs([run])
    except (DBAPIError, Unavailable, PrefectException, httpx.HTTPError, TimeoutError) as error:
        msg = (
            f"The task {run.id} was created, but its row could not be written yet: the tables or "
            "Prefect do not answer. It follows when they do; do not submit it again."
        )
        raise Unavailable(msg) from error


def _see_that_somebody_works(context: Context, situation: Situation) -> None:
    """Refuse what nothing would run.

    Raises:
        Unavailable: No worker is online.
    """
    if not situation.worker_online:
        msg = (
            f"No worker of the work pool {context.settings.pool!r} is online. Start one with "
            f"`prefect worker start --pool {context.settings.pool}` and submit again."
        )
        raise Unavailable(msg)


def check_upload(context: Context, body: SubmitBody) -> None:
    """See that the upload path of a body lies in the session's uploads.

    Raises:
        RequestValidationError: It leads out of them.
    """
    assert body.upload_files_path is not None  # noqa: S101 - asked for by the caller
    try:
        resolve_upload(context.settings.workspace_dir, body.session_id, body.upload_files_path)
    except InvalidInput as error:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("body", "upload_files_path"), "msg": error.message}]
        ) from error


async def keep_secrets(context: Context, body: SubmitBody) -> list[str]:
    """Keep the secrets of a task apart from its parameters; the tags that name them."""
    config = body.mcp_server_config
    return await run_secrets.keep(context.client, config.secrets) if config else []


def run_parameters(body: SubmitBody) -> dict[str, JsonValue]:
    """The parameters of an `agent-run` flow run for a body, without secrets."""
    config = body.mcp_server_config
    wanted = AgentTask.model_fields.keys() - {"mcp_server_config"}
    return {
        **body.model_dump(mode="json", by_alias=True, include=set(wanted)),
        # Prefect keeps parameters as they are: no secret may be among them.
        "mcp_server_config": (
            config.without_secrets().model_dump(mode="json", by_alias=True) if config else None
        ),
    }


async def _taken(
    context: Context, body: SubmitBody, run: FlowRun, key: str | None, request: str
) -> Accepted | Busy:
    """The answer where a run has the slot: it may be the one of an earlier, same request."""
    if made_by(run, key):
        return await _repeated(context, body, run, request)
    return await _busy(context, run)


async def _busy(context: Context, run: FlowRun) -> Busy:
    return Busy(active_task=active_task(await context.sync.record(run)))


async def _repeated(context: Context, body: SubmitBody, run: FlowRun, request: str) -> Accepted:
    if run.labels.get(REQUEST) != request:
        msg = "This Idempotency-Key was used with another body; use a new key for a new task."
        raise InvalidInput(msg)
    await _write_row(context, run)
    return _accepted(context, body, run)


def _accepted(context: Context, body: SubmitBody, run: FlowRun) -> Accepted:
    return Accepted(
        task_id=str(run.id),
        session_id=body.session_id,
        message="Task submitted successfully",
        llm_profile=body.llm_profile_name,
        workspace_dir=str(context.settings.workspace_dir),
    )
