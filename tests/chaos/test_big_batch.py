"""A batch of a thousand tasks: each runs once, and its process does not grow with them."""

from __future__ import annotations

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.control import pid_of
from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(2 * 3_600)]

SIZE = 1_000
GROWTH_BYTES = 60_000_000
"""What is kept of an item is some ten kilobytes."""


async def test_a_thousand_tasks_run_once_each(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    page = site.pages[site.html("/page", "<p>Text.</p>").removeprefix(site.url(""))]
    paths = [f"/page?number={number}" for number in range(SIZE)]
    site.pages.update(dict.fromkeys(paths, page))
    body = {"session_id": "thousand", "items": [f"Read {site.url(path)}" for path in paths]}
    batch_id = (await api.post("/tasks/batch", json=body)).json()["batch_id"]
    process = psutil.Process(await pid_of(prefect, batch_id))
    sizes: list[int] = []

    async def ended() -> bool:
        status = (await api.get(f"/tasks/batch/{batch_id}")).json()
        if status["status"] not in {"pending", "running"}:
            return True
        sizes.append(process.memory_full_info().uss)
        return False

    await eventually(ended, timeout=2 * 3_600, pause=10)
    status = (await api.get(f"/tasks/batch/{batch_id}")).json()
    assert status["message"] == f"All {SIZE} items completed."
    assert {site.hits[path] for path in paths} == {1}
    assert max(sizes) - sizes[0] < GROWTH_BYTES
    print(f"\n{len(sizes) * 10} s, at most {max(sizes) / 1e6:.0f} MB")
