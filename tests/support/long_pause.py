"""A pause that outlasts whatever might end a run meanwhile; short in the suite, long in chaos."""

from __future__ import annotations

import asyncio

import httpx
import psutil
from prefect.client.orchestration import PrefectClient

from tests.support.book import Book
from tests.support.control import agree, at_rest, done, pid_of, queue, run_of, state_of
from tests.support.tasks import body, completes, submit
from vibesurf_blocks.tasks import Status

_LOOK_SECONDS = 0.5


async def pause_for(
    seconds: float, api: httpx.AsyncClient, prefect: PrefectClient, book: Book, other: Book
) -> None:
    """Pause a run for so long and look all the time: it rests, holds its slot and goes on."""
    other.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)
    process = psutil.Process(await pid_of(prefect, task_id))
    paused = await state_of(prefect, task_id)
    queued = await queue(prefect, other.task, "s-queued")
    book.let_all()

    clock = asyncio.get_running_loop().time
    begun = clock()
    while clock() - begun < seconds:
        await agree(api, prefect, task_id, Status.PAUSED)
        assert (await state_of(prefect, task_id)).id == paused.id
        assert sum(book.asked) == step
        assert (await state_of(prefect, queued)).is_scheduled()
        said = (await api.post("/tasks/submit", json=body(other.task))).json()
        assert said["success"] is False
        assert said["active_task"]["task_id"] == task_id
        await asyncio.sleep(_LOOK_SECONDS)

    assert process.is_running()
    # No lease is held that Prefect could revoke.
    assert paused.state_details.deployment_concurrency_lease_id is None
    run = await run_of(prefect, task_id)
    assert run.deployment_id is not None
    assert (await prefect.read_deployment(run.deployment_id)).concurrency_limit is None
    await done(api, "resume")
    await book.until_asked(step + 1)
    row = await completes(api, task_id)
    assert book.asked == [1] * book.size
    assert row["task_metadata"]["recoveries"] == 0
    await completes(api, queued)
    assert other.asked == [1]
