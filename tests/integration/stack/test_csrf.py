"""A stack whose Prefect server wants CSRF tokens."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.site import Site
from tests.support.stack import own_stack
from tests.support.tasks import body, completes


@pytest.mark.slow
async def test_a_stack_with_csrf_protection_starts_and_runs_tasks(site: Site) -> None:
    page = site.html("/short", "<p>Short.</p>")
    with own_stack(PREFECT_SERVER_CSRF_PROTECTION_ENABLED="true") as stack:
        async with stack.http() as api:
            # The first requests need tokens all at once.
            answers = await asyncio.gather(
                *(api.post("/tasks/submit", json=body(f"Read {page}")) for _ in range(4))
            )
            assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
            (task,) = [one.json()["task_id"] for one in answers if one.json()["success"]]
            await completes(api, task)
