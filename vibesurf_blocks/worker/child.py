"""What a forked child does: take over its environment, load the flow, run it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import shlex
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from prefect.client.schemas.objects import FlowRun
from prefect.engine import handle_engine_signals
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint, load_flow_from_flow_run
from prefect.logging.loggers import flow_run_logger

from vibesurf_blocks import logs
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.worker.environment import take_over_environment


def run(
    flow_run: dict[str, Any],
    command: str | None,
    stream_output: bool,
    module_path: str | None = None,
) -> int:
    """Run one flow run to its end; the target of the fork server's children.

    Args:
        flow_run: The claimed flow run, as JSON.
        command: A command to become instead, where the deployment sets one.
        stream_output: Whether output goes where the worker's goes.
        module_path: Where the flow is imported from; None where its deployment has to be read.

    Returns:
        0 where the flow run's state says how it ended; anything else is a crash.
    """
    if not stream_output:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
    if command is not None:
        words = shlex.split(command)
        os.execvp(words[0], words)  # noqa: S606 - the deployment's author chose the command
    for entry in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if entry and entry not in sys.path:
            sys.path.insert(1, entry)
    take_over_environment()
    claimed = FlowRun.model_validate(flow_run)
    logs.configure_run(Settings.here(), str(claimed.id))
    with handle_engine_signals(claimed.id):
        flow = _import(claimed, module_path) if module_path else asyncio.run(_load(claimed))
        logger = cast(logging.Logger, flow_run_logger(claimed))  # an adapter, which serves as one
        running = run_flow(flow, flow_run=claimed, error_logger=logger)
        # A sync flow has run by now, in this main thread, where signals reach it.
        if inspect.isasyncgen(running):
            asyncio.run(_drain(running))
        elif inspect.iscoroutine(running):
            asyncio.run(running)
        elif inspect.isgenerator(running):
            for _ in running:
                pass
    return 0


def _import(flow_run: FlowRun, module_path: str) -> Flow[..., Any]:
    with _telling_failures(flow_run):
        # An already imported module costs nothing here.
        return load_flow_from_entrypoint(module_path, use_placeholder_flow=False)


async def _load(flow_run: FlowRun) -> Flow[..., Any]:
    with _telling_failures(flow_run):
        # Runs the deployment's pull steps.
        return await load_flow_from_flow_run(flow_run=flow_run, use_placeholder_flow=False)


@contextmanager
def _telling_failures(flow_run: FlowRun) -> Iterator[None]:
    try:
        yield
    except Exception:
        flow_run_logger(flow_run).exception(
            "The flow of deployment %s could not be loaded.", flow_run.deployment_id
        )
        raise


async def _drain(items: AsyncGenerator[Any, Any]) -> None:
    async for _ in items:
        pass
