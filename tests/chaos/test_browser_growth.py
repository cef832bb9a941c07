"""Fifty tasks on a browser in a row leave nothing behind: no process, no memory, no file."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.model_server import done
from tests.support.model_server import running as model_running
from tests.support.moves import clicks, moves, opens, types
from tests.support.profiles import profile
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import completes, submit
from tests.support.web import pages
from vibesurf_blocks.browser.session import FOLDER

RUNS = 50
WARM = 5
"""Runs after which caches are full."""

SPAN = 10
"""Runs whose median is compared: single samples swing by a sixth."""

GROWTH = 1.08
HELPERS = 3
"""Processes that PostgreSQL and Chromium start and end as they see fit."""


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_fifty_runs_leave_what_five_have_left(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    web = pages(site)
    seen: list[tuple[int, float, set[str]]] = []
    with model_running() as model:
        async with profile(prefect, "many", base_url=model.url):
            for _ in range(RUNS):
                model.script(
                    moves(opens(web.form)),
                    moves(types("id=name", "Ada"), clicks("id=send")),
                    done("Sent."),
                )
                await completes(api, await submit(api, "Order", llm_profile_name="many"), 60)
                seen.append(use(stack))
    processes, _, files = seen[WARM - 1]
    first, last = (median(one[1] for one in part) for part in (seen[WARM:][:SPAN], seen[-SPAN:]))
    print([(one[0], round(one[1])) for one in seen])
    assert seen[-1][0] <= processes + HELPERS
    assert last <= first * GROWTH
    assert seen[-1][2] <= files
    assert len(web.sent) == RUNS


def use(stack: LiveStack) -> tuple[int, float, set[str]]:
    """Processes of stack and browser, their memory in MB, and what lies in temporary folders."""
    ours = {one.pid: one for one in stack.processes()}
    for one in list(ours.values()):
        try:
            ours.update({child.pid: child for child in one.children(recursive=True)})
        except psutil.NoSuchProcess:
            continue
    memory = 0.0
    for one in ours.values():
        try:
            memory += one.memory_full_info().pss / 1e6
        except psutil.Error:
            continue
    found = {
        str(path)
        for folder in (Path("/tmp"), stack.settings.workspace_dir / ".checkpoints")
        for path in folder.glob("*")
        if path.name.startswith(("vibesurf-browser", "browser-use", "browser_use"))
        or folder.name == ".checkpoints"
    }
    # Of the keeper there is one, in whose folder Chromium's own sockets lie.
    assert len(list(stack.settings.workspace_dir.glob(f"*/{FOLDER}/keeper.json"))) <= 2
    return len(ours), memory, found
