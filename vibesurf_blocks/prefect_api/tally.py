"""What is still known of the executions of a schedule whose runs were deleted.

Executions are counted by the runs there are. Those of deleted runs are kept in one Prefect variable
for each schedule, so that the count stays right, and stays derived from Prefect alone.

A run is deleted in three moves: it is noted here as *going*; it is deleted; it is counted here. At
every moment in between, and wherever the one who does this was killed, the executions of a schedule
are `count` + those that are going + the other runs there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from vibesurf_blocks.prefect_api.runs import read_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

_PREFIX: Final = "vibesurf-pruned-"
_PAGE: Final = 200

MOST_GOING: Final = 100
"""Runs of one schedule that may be going at once: a variable holds 5,000 characters."""


class Tally(BaseModel):
    """What is kept of one schedule.

    Attributes:
        count: Executions whose runs are deleted.
        last: When the last of those, or of the ones that are going, was started (UTC).
        going: Runs that are just being deleted: they count, whether they are there or not.
    """

    model_config = ConfigDict(frozen=True)

    count: int = 0
    last: AwareDatetime | None = None
    going: tuple[UUID, ...] = ()


async def read(client: PrefectClient, schedule_id: UUID) -> Tally:
    """What is kept of a schedule; nothing where none of its runs was deleted."""
    variable = await client.read_variable_by_name(_name(schedule_id))
    return Tally() if variable is None else _tally(variable.value)


async def going(client: PrefectClient, runs: Mapping[UUID, Collection[FlowRun]]) -> None:
    """Note executed runs that are about to be deleted, by schedule; none may be going yet."""
    for schedule_id, some in runs.items():
        known = await read(client, schedule_id)
        started = [run.start_time for run in some if run.start_time is not None]
        noted = known.model_copy(
            update={
                "going": tuple(sorted(run.id for run in some)),
                "last": max([*started, *([known.last] if known.last else [])], default=None),
            }
        )
        await _write(client, schedule_id, noted)


async def gone(client: PrefectClient, schedules: Collection[UUID]) -> None:
    """Count those that were going and are no longer there, and forget about the others."""
    for schedule_id in schedules:
        known = await read(client, schedule_id)
        left = {run.id for run in await read_runs(client, known.going)}
        deleted = len(set(known.going) - left)
        await _write(
            client,
            schedule_id,
            known.model_copy(update={"count": known.count + deleted, "going": ()}),
        )


async def settle(client: PrefectClient) -> None:
    """See to what somebody left who was killed."""
    left = [schedule_id for schedule_id, known in (await _all(client)).items() if known.going]
    await gone(client, left)


async def forget_others(client: PrefectClient, schedules: Collection[UUID]) -> None:
    """Forget what was kept of schedules that are no more.

    Args:
        client: Prefect.
        schedules: All schedules that there are.
    """
    for schedule_id in (await _all(client)).keys() - set(schedules):
        await client.delete_variable_by_name(_name(schedule_id))


async def schedules(client: PrefectClient) -> set[UUID]:
    """The schedules of which something is kept."""
    return set(await _all(client))


async def _all(client: PrefectClient) -> dict[UUID, Tally]:
    found: dict[UUID, Tally] = {}
    offset = 0
    while True:
        # The client's own method has neither filter nor offset.
        answer = await client.request(
            "POST",
            "/variables/filter",
            json={
                "variables": {"name": {"like_": _PREFIX}},
                "limit": _PAGE,
                "offset": offset,
            },
        )
        answer.raise_for_status()
        page = answer.json()
        for one in page:
            try:
                schedule_id = UUID(str(one["name"]).removeprefix(_PREFIX))
            except ValueError:  # somebody else's
                continue
            found[schedule_id] = _tally(one["value"])
        if len(page) < _PAGE:
            return found
        offset += _PAGE


async def _write(client: PrefectClient, schedule_id: UUID, tally: Tally) -> None:
    name, value = _name(schedule_id), tally.model_dump(mode="json")
    try:
        await client.update_variable(VariableUpdate(name=name, value=value))
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        await client.create_variable(VariableCreate(name=name, value=value))


def _tally(value: object) -> Tally:
    try:
        return Tally.model_validate(value)
    except ValidationError:  # somebody edited it in the UI
        return Tally()


def _name(schedule_id: UUID) -> str:
    return f"{_PREFIX}{schedule_id}"
