"""A schedule from one of VibeSurf's rows, as the body that makes one here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.adopt.report import Leave
from vibesurf_blocks.adopt.values import flag, moment, text
from vibesurf_blocks.api.schedule_schemas import ScheduleCreate
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.schedules.cron import check_cron

if TYPE_CHECKING:
    from vibesurf_blocks.adopt.source import Row

_FLOW_LIMIT: Final = 255
_DESCRIPTION_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule as it is to be here.

    Attributes:
        body: What is asked for.
        mended: What had to be changed, for a person.
        has_history: Whether it was executed in VibeSurf, which is counted there alone.
    """

    body: ScheduleCreate
    mended: tuple[str, ...]
    has_history: bool


def schedule_of(row: Row, at_least: float) -> Wanted:
    """The schedule of one of VibeSurf's rows.

    Args:
        row: The row.
        at_least: Seconds between two of its occurrences at the least.

    Raises:
        Leave: It cannot be a schedule here.
    """
    mended: list[str] = []
    flow_id = text(row.get("flow_id"))
    if flow_id is None or len(flow_id) > _FLOW_LIMIT:
        msg = f"names no flow in at most {_FLOW_LIMIT} characters"
        raise Leave(msg)
    cron = text(row.get("cron_expression"))
    if cron is not None and cron.strip():
        try:
            check_cron(cron, at_least)
        except InvalidInput as error:
            msg = f"has the cron {cron[:100]!r}, which is refused here: {error.message}"
            raise Leave(msg) from None
    else:
        cron = None
    description = text(row.get("description"))
    if description is not None and len(description) > _DESCRIPTION_LIMIT:
        mended.append(f"its description has more than {_DESCRIPTION_LIMIT} characters: cut")
        description = description[:_DESCRIPTION_LIMIT]
    body = ScheduleCreate(
        flow_id=flow_id,
        cron_expression=cron,
        is_enabled=flag(row.get("is_enabled"), default=True),
        description=description,
    )
    return Wanted(body, tuple(mended), _has_history(row))


def _has_history(row: Row) -> bool:
    count = text(row.get("execution_count"))
    return moment(row.get("last_execution_at")) is not None or count not in {None, "0"}
