"""Check: each pool has a worker that was heard of lately."""

from __future__ import annotations

from vibesurf_blocks.doctor import processes
from vibesurf_blocks.doctor.case import Case, is_online, silent_for
from vibesurf_blocks.doctor.case import workers as workers_of
from vibesurf_blocks.doctor.finding import Finding, Told, error, span, told


async def worker(case: Case) -> Told:
    """Look at the workers of all pools."""
    found: list[Finding] = []
    says: list[str] = []
    online: dict[str, int] = {}
    for pool in case.settings.pools:
        known = await workers_of(case, pool) or []
        well = [one for one in known if is_online(one)]
        online[pool] = len(well)
        says.append(f"{len(well)} online in {pool}")
        if well:
            continue
        heard = "there never was one"
        if known:
            heard = f"{known[0].name!r} was last heard of {span(silent_for(known[0]))} ago"
        what = f"No worker of the work pool {pool!r} is online: {heard}. Nothing runs there."
        found.append(error(what, _mend(case), pool))
    return told(", ".join(says), *found, online=sum(online.values()))


def _mend(case: Case) -> str:
    stopped = [
        one
        for one in processes.parts(case.settings.home_dir, "worker")
        if processes.is_stopped(one)
    ]
    if stopped:
        pid = stopped[0].pid
        return (
            f"The worker's process {pid} is stopped: `{processes.RESUME.format(pid=pid)}`, or "
            f"`kill -9 {pid}`, after which `up` starts another."
        )
    # A worker of the agents' pool serves the others as well.
    return f"`prefect worker start --pool {case.settings.pool}`, or `vibesurf-blocks up`"
