"""The mirror's sign of life: a variable on the Prefect server, written after each comparison.

Whoever reads it knows that some mirror compared all rows with Prefect at that time, wherever it
runs; a mirror that hangs, or cannot reach its tables, gives none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

VARIABLE: Final = "vibesurf_mirror"
"""Name of the variable."""

_MISSED: Final = 2
"""Comparisons that may be missed before a mirror is taken for dead."""

_MARGIN: Final = 1.0
"""Seconds a comparison may take, and clocks may differ."""


class Beat(BaseModel):
    """A sign of life.

    Attributes:
        at: When the rows were compared (UTC).
        every: Seconds between two comparisons.
        host: Host of the mirror.
        pid: Its process there.
        lag: Longest time (s) from a state change to its row since the beat before; None where no
            row was written.
    """

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    every: float
    host: str
    pid: int
    lag: float | None = None

    def age(self, now: datetime | None = None) -> float:
        """Seconds since then."""
        return ((now or datetime.now(UTC)) - self.at).total_seconds()

    def late(self, now: datetime | None = None) -> bool:
        """Whether the next one should have come long ago."""
        return self.age(now) > _MISSED * self.every + _MARGIN


async def beat(client: PrefectClient, sign: Beat) -> None:
    """Give a sign of life."""
    value = sign.model_dump(mode="json")
    try:
        await client.update_variable(VariableUpdate(name=VARIABLE, value=value))
    except (ObjectNotFound, httpx.HTTPStatusError) as error:
        if not _missing(error):
            raise
        try:
            await client.create_variable(
                VariableCreate(name=VARIABLE, value=value, tags=["vibesurf"])
            )
        except ObjectAlreadyExists:
            return  # another mirror was quicker


async def last_beat(client: PrefectClient) -> Beat | None:
    """The last sign of life, None where there never was one."""
    variable = await client.read_variable_by_name(VARIABLE)
    if variable is None:
        return None
    try:
        return Beat.model_validate(variable.value)
    except ValidationError:
        return None  # somebody edited it; the next beat mends it


def _missing(error: Exception) -> bool:
    return isinstance(error, ObjectNotFound) or (
        isinstance(error, httpx.HTTPStatusError)
        and error.response.status_code == httpx.codes.NOT_FOUND
    )
