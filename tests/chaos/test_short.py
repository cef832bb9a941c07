"""The short form of `make chaos`: ten kills over the parts, by a seed, and nothing is violated."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.driver.arena import arena
from tests.chaos.driver.plan import Planned
from tests.chaos.driver.run import Run
from tests.chaos.driver.table import Outcome, lines
from tests.chaos.driver.workload import ACTIONS

BURSTS = [
    [Planned(name, 0.3, lasts, 0.0) for name, lasts in burst]
    for burst in (
        [("kill-child", 0.0), ("kill-mirror", 0.0), ("kill-api", 0.0)],
        [("kill-worker", 0.0), ("cut-prefect", 0.5), ("kill-child", 0.0), ("kill-mirror", 0.0)],
        [("kill-api", 0.0), ("kill-worker", 0.0), ("freeze-mirror", 0.5), ("kill-mirror", 0.0)],
        [("kill-database", 0.0), ("kill-child", 0.0)],
    )
]
"""Each part once at the least; what takes longest comes once."""

PATIENCE = 120.0
"""Seconds until all is right again, on a machine that runs other tests beside this one."""


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_ten_kills_violate_nothing() -> None:
    outcome = Outcome(seed=1, database="postgres", without="")
    with arena("postgres") as made:
        made.start()
        run = Run(made, outcome, print, promised=PATIENCE, actions=ACTIONS.keys() - {"browse"})
        await run.run(islice(BURSTS, len(BURSTS)))
    told = "\n".join(lines(outcome))
    assert not outcome.violations, told
    # A child that is between two tasks cannot be hit.
    assert outcome.kills >= 7, told
    assert outcome.runs["completed"], told
