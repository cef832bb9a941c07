"""Check: the work pools are there, of the right type, not paused, and have room for a run."""

from __future__ import annotations

from prefect.client.schemas.objects import WorkQueueStatus
from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Finding, Told, error, note, told, warning

_TYPE = "vibesurf"


async def pools(case: Case) -> Told:
    """Look at the pool of the agents, that of batches and workflows, and that of alerts."""
    found: list[Finding] = []
    says: list[str] = []
    for pool in case.settings.pools:
        findings, limit = await _pool(case, pool)
        found += findings
        says.append(f"{pool}: {limit}")
    return told(", ".join(says), *found)


async def _pool(case: Case, pool: str) -> tuple[list[Finding], str]:
    try:
        one = await case.client.read_work_pool(pool)
    except ObjectNotFound:
        what = f"There is no work pool {pool!r} on the Prefect server."
        mend = (
            f"`prefect work-pool create {pool} --type {_TYPE}`, or start `vibesurf-blocks up` once"
        )
        return [error(what, mend, pool)], "missing"
    found: list[Finding] = []
    if one.type != _TYPE:
        what = f"The work pool {pool!r} is of type {one.type!r}: no worker of ours serves it."
        mend = "Give VIBESURF_POOL the name of a pool of type vibesurf, or make this one anew."
        found.append(error(what, mend, pool))
    if one.is_paused:
        what = f"The work pool {pool!r} is paused: nothing that is due there is started."
        found.append(error(what, f"`prefect work-pool resume {pool}`", pool))
    limit = one.concurrency_limit
    if limit == 0:
        what = f"The work pool {pool!r} has a concurrency limit of 0: nothing is ever started."
        mend = f"`prefect work-pool set-concurrency-limit {pool} 1`"
        found.append(error(what, mend, pool))
    elif limit is None and pool == case.settings.pool:
        what = (
            f"The work pool {pool!r} has no concurrency limit: each worker runs up to "
            f"{case.settings.slots} agents (VIBESURF_SLOTS)."
        )
        found.append(note(what, f"`prefect work-pool set-concurrency-limit {pool} 1`", pool))
    for queue in await case.client.read_work_queues(pool):
        if queue.is_paused or queue.status is WorkQueueStatus.PAUSED:
            what = f"The work queue {queue.name!r} of the pool {pool!r} is paused: its runs wait."
            mend = f"`prefect work-queue resume {queue.name} --pool {pool}`"
            found.append(warning(what, mend, pool))
    return found, f"{'no limit' if limit is None else f'limit {limit}'}"
