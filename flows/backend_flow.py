"""A flow of a VibeSurf backend as a flow run: ask for it, report what the backend answered."""

from __future__ import annotations

from typing import Annotated, Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field, JsonValue

from vibesurf_blocks.blocks.backend import VibeSurfBackend
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.run.answer import report_answer
from vibesurf_blocks.tasks import BACKEND_BLOCK, BACKEND_FLOW


@flow(name=BACKEND_FLOW, persist_result=False)
async def backend_flow(
    flow_id: Annotated[
        str, Field(min_length=1, max_length=255, description="The flow's id on the backend.")
    ],
    inputs: Annotated[
        dict[str, JsonValue] | None, Field(description="Inputs of the flow, if it takes any.")
    ] = None,
    backend: Annotated[
        str, Field(description="Name of the VibeSurf Backend block to use.")
    ] = BACKEND_BLOCK,
) -> State[Any]:
    """Trigger a flow of a VibeSurf backend; what the backend answered is the run's result."""
    block = cast(VibeSurfBackend, await VibeSurfBackend.aload(backend))
    try:
        answer = await block.build(flow_id, inputs)
    except EngineError as error:
        return Failed(message=error.message)
    await report_answer(answer)
    return Completed(message=f"The backend took the flow {flow_id}.")
