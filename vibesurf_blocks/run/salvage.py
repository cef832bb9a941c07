"""Publishes what a killed run had found, from its last checkpoint, without opening its engine.

An agent that works elsewhere is ended first: nobody follows it any more.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.context import refresh_global_settings_context
from pydantic import ValidationError

from vibesurf_blocks import logs
from vibesurf_blocks.engines.backend.state import block_of
from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.engines.protocol import Backend, Engine, EngineContext, Remote, Tools
from vibesurf_blocks.engines.registry import engine_for
from vibesurf_blocks.errors import EngineError, VibesurfError
from vibesurf_blocks.models.backends import find_backend
from vibesurf_blocks.prefect_api import artifacts
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.prefect_api.labels import TROUBLE
from vibesurf_blocks.prefect_api.step_journal import StepJournal
from vibesurf_blocks.run.checkpoints import CheckpointFile, Kept
from vibesurf_blocks.run.profile import as_begun
from vibesurf_blocks.run.report import write_report
from vibesurf_blocks.run.tools import read_tools
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables.records import ControlEntry
from vibesurf_blocks.tasks import AgentTask
from vibesurf_blocks.workspace import prepare_session

logger = logging.getLogger(__name__)


def salvage(flow_run: dict[str, Any]) -> int:
    """Publish result and report of a run that no process works on any more.

    Args:
        flow_run: The flow run, as JSON.

    Returns:
        0, also where nothing was kept.
    """
    # Imported before the address of the Prefect server was known.
    refresh_global_settings_context()
    asyncio.run(_salvage(FlowRun.model_validate(flow_run)))
    return 0


async def _salvage(run: FlowRun) -> None:
    settings = Settings.here()
    file = CheckpointFile(settings.workspace_dir, str(run.id))
    with file.alone():
        kept = file.load()
        trouble = None if kept is None else await _publish(run, settings, kept)
        if (trouble or "") != run.labels.get(TROUBLE, ""):
            async with connect() as client:
                await client.update_flow_run_labels(run.id, {TROUBLE: trouble or ""})
        file.discard()


async def _publish(run: FlowRun, settings: Settings, kept: Kept) -> str | None:
    """Publish what was kept; what the end of the run is to say of it, None where all went well."""
    trouble: str | None = None
    secrets = Secrets((), ())  # until it is known which there are
    async with connect() as client:
        try:
            task = as_begun(run, AgentTask.model_validate(run.parameters))
            block = block_of(kept.checkpoint)
            backend, tools = None, Tools()
            if block is not None:
                backend = Backend(block, await find_backend(client, block))
                tools = await read_tools(client, run, task, blocks=False)
            context = EngineContext(
                task=task,
                task_id=str(run.id),
                session_dir=prepare_session(settings.workspace_dir, task.session_id),
                settings=settings,
                tools=tools,
                backend=backend,
            )
            secrets = Secrets.of(context)
            logs.hide_also(secrets.hide)
            engine = engine_for(context)
            engine.restore(kept.checkpoint)
            if not kept.done:
                trouble = await _end(engine, context.task_id, secrets)
            outcome = engine.outcome()
        except (ValidationError, VibesurfError, OSError) as error:
            logger.warning("Nothing of run %s could be saved: %s", run.id, error)
            # The others quote what they are about.
            return secrets.hide(error.message) if isinstance(error, VibesurfError) else None
        path = None
        try:
            path = write_report(context.session_dir, context.task_id, outcome.report)
        except OSError as error:
            logger.warning("The report of run %s could not be written: %s", run.id, error)
        journal = StepJournal(client, run.id)
        await journal.read()
        await journal.append(kept.untold)
        history = await artifacts.read_history(client, run.id)
        # Of two of the same the first counts: what was kept may not be all that was published.
        whole = artifacts.merged((history, kept.history, _stop(run, kept)))
        if whole != history:
            await artifacts.create_history(client, run.id, whole)
        await artifacts.create_result(client, run.id, outcome.result)
        if path is not None:
            await artifacts.create_report(client, run.id, path)
    return trouble


def _stop(run: FlowRun, kept: Kept) -> tuple[ControlEntry, ...]:
    """The stop that ended a run which no process could heed, as its process would have noted it."""
    state = run.state
    if state is None or not (state.is_cancelling() or state.is_cancelled()):
        return ()
    return (
        ControlEntry(
            operation="stop",
            reason=state.message,
            asked_at=state.timestamp,
            effective_at=datetime.now(UTC),
            step=kept.step,
        ),
    )


async def _end(engine: Engine, task_id: str, secrets: Secrets) -> str | None:
    """End an agent that works elsewhere; why it may go on, None where it does not."""
    if not isinstance(engine, Remote):
        return None
    try:
        await engine.end()
    except EngineError as error:
        logger.warning("The agent of run %s may go on elsewhere: %s", task_id, error)
        return secrets.hide(error.message)
    finally:
        await engine.close()
    return None
