"""The finished steps of a run in order, as durable inputs of the flow run.

Task runs show the steps to people, but reach the server late, in any order, or not at all where it
died meanwhile. The journal is what others may count on: one writer at a time appends to it, so an
entry, once there, keeps its place. The key of a part says where in the journal it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vibesurf_blocks.tables.records import Moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

_PREFIX: Final = "vibesurf-steps-"
_DIGITS: Final = 8
_BLOCK: Final = 100
"""Entries of which the parts are read at once."""


class StepNote(BaseModel):
    """One finished step."""

    model_config = ConfigDict(frozen=True)

    number: Annotated[int, Field(ge=1, description="Number of the step, from 1.")]
    name: Annotated[str, Field(description="What it did.")]
    progress: Annotated[int, Field(ge=0, le=100, description="Progress in per cent after it.")]
    ok: Annotated[bool, Field(description="Whether it reached what it tried.")]
    at: Annotated[Moment, Field(description="When it was finished.")]


_Part = TypeAdapter(tuple[StepNote, ...])


class StepJournal:
    """The journal of one run, read as far as `notes` goes."""

    def __init__(self, client: PrefectClient, run_id: UUID) -> None:
        self._client = client
        self._run_id = run_id
        self._seen: set[str] = set()
        self._block = 0
        self.notes: list[StepNote] = []

    async def read(self) -> None:
        """Read on, to the end of what is there."""
        while True:
            found = await self._parts(len(self.notes) // _BLOCK)
            grown = False
            while (part := found.get(len(self.notes))) is not None:
                self.notes += part
                grown = True
            if not grown:
                return

    async def append(self, notes: Sequence[StepNote]) -> None:
        """Add notes at the end; those that are there already are left out.

        Everything that is there must have been read. Where another writer was quicker, what it
        wrote is read first.
        """
        while fresh := [note for note in notes if note not in self.notes[-len(notes) - _BLOCK :]]:
            try:
                await self._client.create_flow_run_input(
                    self._run_id, _key(len(self.notes)), _Part.dump_json(tuple(fresh)).decode()
                )
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.CONFLICT:
                    raise
                before = len(self.notes)
                await self.read()
                if len(self.notes) == before:
                    raise
            else:
                self.notes += fresh
                return

    async def _parts(self, block: int) -> dict[int, tuple[StepNote, ...]]:
        """The parts that begin in a block and were not read before, by where they begin."""
        if block != self._block:
            self._block, self._seen = block, set()
        prefix = _key(block * _BLOCK)[: -len(str(_BLOCK - 1))]
        inputs = await self._client.filter_flow_run_input(
            self._run_id, prefix, limit=2 * _BLOCK, exclude_keys=self._seen
        )
        found = {}
        for one in inputs:
            self._seen.add(one.key)
            try:
                found[int(one.key.removeprefix(_PREFIX))] = _Part.validate_json(one.value)
            except (ValueError, ValidationError):
                continue  # not made by `append`
        return found


def _key(start: int) -> str:
    return f"{_PREFIX}{start:0{_DIGITS}d}"
