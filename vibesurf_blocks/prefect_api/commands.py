"""Commands to a running agent and their acknowledgements, as durable inputs of the flow run.

A command is an input whose key sorts by the time it was asked; its acknowledgement is another input
of the same run. Both outlive every process, so a command is neither lost nor applied twice. An
event is the nudge that makes the agent look at once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import httpx
from prefect.events import emit_event
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from vibesurf_blocks.run.events import COMMAND_EVENT

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

_COMMAND: Final = "vibesurf-command-"
_ACK: Final = "vibesurf-ack-"
_PAGE: Final = 200


class Operation(StrEnum):
    """What may be asked of a running agent."""

    PAUSE = "pause"
    RESUME = "resume"
    INSTRUCT = "instruct"


class Command(BaseModel):
    """Something asked of a running agent.

    Attributes:
        id: Sorts by the time it was asked.
        operation: What is asked.
        text: The instruction, or the reason where one was given.
        asked_at: When (UTC).
    """

    model_config = ConfigDict(frozen=True)

    id: str
    operation: Operation
    text: str | None = None
    asked_at: AwareDatetime


class Ack(BaseModel):
    """The agent's answer to a command.

    Attributes:
        applied: Whether it took effect; if not, `outcome` says why.
        step: Steps finished when it took effect; the next step is the first under it.
        effective_at: When (UTC).
        outcome: What came of it, in a few words.
        refused: Whether the agent could not do it, and goes on as before.
    """

    model_config = ConfigDict(frozen=True)

    applied: bool
    step: int
    effective_at: AwareDatetime
    outcome: str
    refused: bool = False


async def send(
    client: PrefectClient, run_id: UUID, operation: Operation, text: str | None
) -> Command:
    """Keep a command for a run and nudge the agent; returns when it is kept."""
    command = Command(
        id=f"{time.time_ns():020d}-{uuid4().hex[:8]}",
        operation=operation,
        text=text,
        asked_at=datetime.now(UTC),
    )
    await client.create_flow_run_input(run_id, _COMMAND + command.id, command.model_dump_json())
    emit_event(
        COMMAND_EVENT,
        resource={"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        payload={"operation": operation, "id": command.id},
    )
    return command


async def waiting(client: PrefectClient, run_id: UUID, known: Collection[str]) -> list[Command]:
    """The commands of a run beside the known ones, in the order they were asked."""
    inputs = await client.filter_flow_run_input(
        run_id, _COMMAND, limit=_PAGE, exclude_keys={_COMMAND + one for one in known}
    )
    commands = []
    for one in inputs:
        try:
            commands.append(Command.model_validate_json(one.value))
        except ValidationError:
            continue  # not made by `send`; nothing waits for an answer to it
    return sorted(commands, key=lambda command: command.id)


async def answered(client: PrefectClient, run_id: UUID) -> dict[str, Ack]:
    """All acknowledgements of a run, by the ids of their commands."""
    found: dict[str, Ack] = {}
    while True:
        known = {_ACK + one for one in found}
        page = await client.filter_flow_run_input(run_id, _ACK, limit=_PAGE, exclude_keys=known)
        for one in page:
            with suppress(ValidationError):
                found[one.key.removeprefix(_ACK)] = Ack.model_validate_json(one.value)
        if len(page) < _PAGE:
            return found


async def acknowledge(client: PrefectClient, run_id: UUID, command: Command, ack: Ack) -> None:
    """Answer a command; a second answer to the same one changes nothing."""
    try:
        await client.create_flow_run_input(run_id, _ACK + command.id, ack.model_dump_json())
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:
            raise


async def acknowledgement(client: PrefectClient, run_id: UUID, command: Command) -> Ack | None:
    """The agent's answer to a command, None while there is none."""
    try:
        return Ack.model_validate_json(await client.read_flow_run_input(run_id, _ACK + command.id))
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return None
        raise
