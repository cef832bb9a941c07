"""Check: a mirror lives, and rows follow Prefect in time."""

from __future__ import annotations

import socket
from typing import Final

import psutil

from vibesurf_blocks.doctor import processes
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Told, error, span, told, warning
from vibesurf_blocks.prefect_api.heartbeat import Beat, last_beat

SLOW_SECONDS: Final = 5.0
"""Lag of rows that is worth a word; a second is what is promised."""

_START = "`vibesurf-blocks mirror`, or `vibesurf-blocks up`"


async def mirror(case: Case) -> Told:
    """Look at the mirror's last sign of life."""
    last = await last_beat(case.client)
    if last is None:
        what = "No mirror has ever compared the rows with Prefect: tasks get no rows."
        return told("never ran", error(what, _START))
    age = last.age()
    says = f"compared all rows {span(age)} ago"
    facts = {"age_seconds": round(age, 3), "lag_seconds": last.lag}
    if last.late():
        what = (
            f"The mirror last compared the rows with Prefect {span(age)} ago (process {last.pid} "
            f"on {last.host}); it should every {last.every:g} s. Rows no longer follow."
        )
        return told(says, error(what, _mend(last)), **facts)
    if last.lag is not None and last.lag > SLOW_SECONDS:
        what = f"A row followed its task's state {last.lag:.1f} s late."
        mend = (
            "See whether the machine or the database is overloaded (`vibesurf_mirror_lag_seconds` "
            "in /metrics), and the mirror's log."
        )
        return told(says, warning(what, mend), **facts)
    return told(says, **facts)


def _mend(last: Beat) -> str:
    if last.host != socket.gethostname():
        return f"Look after it on {last.host}, or start another one: {_START}"
    try:
        stopped = processes.is_stopped(psutil.Process(last.pid))
    except psutil.Error:
        return f"Its process is gone: {_START}"
    if stopped:
        return f"Its process is stopped: `{processes.RESUME.format(pid=last.pid)}`"
    return (
        f"Its process lives: its log says why it cannot. If it hangs: `kill -9 {last.pid}`, after "
        f"which `up` starts another; else {_START}"
    )
