"""What a backend answered, as the result of the present flow run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from pydantic import JsonValue

from vibesurf_blocks.prefect_api.artifacts import create_result


async def report_answer(answer: Mapping[str, JsonValue]) -> None:
    """Publish an answer as the result of the run this is called in; outside of one do nothing."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    shown = json.dumps(answer, indent=2, sort_keys=True, ensure_ascii=False)
    async with get_client() as client:
        await create_result(client, context.flow_run.id, f"```json\n{shown}\n```")
