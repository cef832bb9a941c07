"""Check: the tables can be reached and are those of this version."""

from __future__ import annotations

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Told, error, told
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.tables.upgrade import revisions

_UPGRADE = "vibesurf-blocks db upgrade"


async def tables(case: Case) -> Told:
    """Look at the revision of the tables."""
    where = str(case.database)
    try:
        found = await revisions(case.database)
    except Unavailable as failure:
        mend = (
            "See that the database runs and that VIBESURF_DATABASE_URL (else VIBESURF_HOME) is the "
            "one its parts have; then `vibesurf-blocks db upgrade`."
        )
        return told("cannot be reached", error(failure.message, mend))
    says = f"revision {found.present} in {where}"
    if found.present is None:
        return told("none", error(f"There are no tables in {where} yet.", f"`{_UPGRADE}`"))
    if found.present not in found.known:
        what = (
            f"The tables in {where} are at revision {found.present}; this version knows them up to "
            f"{found.head}."
        )
        return told(says, error(what, "Install the newer vibesurf-blocks that made them."))
    if found.present != found.head:
        what = f"The tables in {where} are at revision {found.present}, not yet at {found.head}."
        return told(says, error(what, f"`{_UPGRADE}`"))
    return told(says, revision=found.present)
