"""Check: every status in the tables is one of the six, in lower case."""

from __future__ import annotations

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Told, error, told
from vibesurf_blocks.tables.statuses import statuses as statuses_in
from vibesurf_blocks.tasks import Status


async def statuses(case: Case) -> Told:
    """Look at the statuses as they are stored, whoever wrote them."""
    found = await statuses_in(case.database)
    six = {status.value for status in Status}
    odd = {word: count for word, count in found.items() if word not in six}
    says = f"{sum(found.values())} rows"
    if not odd:
        return told(says)
    listed = ", ".join(f"{word!r} ({count})" for word, count in sorted(odd.items()))
    case_alone = all(word.strip().lower() in six for word in odd)
    what = f"Rows of the table tasks have statuses that are none: {listed}. They cannot be read."
    if case_alone:
        what = f"Rows of the table tasks have statuses in the wrong case: {listed}."
        what += " They were written by another program, and cannot be read."
        return told(says, error(what, "`vibesurf-blocks db mend-statuses`"))
    mend = (
        "`vibesurf-blocks mirror --rebuild` writes every row anew from Prefect; rows of tasks that "
        "Prefect does not know are lost by it."
    )
    return told(says, error(what, mend))
