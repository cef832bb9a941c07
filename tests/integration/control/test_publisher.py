"""What a run tells of itself reaches Prefect before its result, also where Prefect was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled

from tests.chaos.driver.proxy import Proxy
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from vibesurf_blocks.engines.protocol import Outcome, Step, Usage
from vibesurf_blocks.prefect_api.artifacts import published
from vibesurf_blocks.prefect_api.step_journal import StepJournal
from vibesurf_blocks.run.publisher import Publisher
from vibesurf_blocks.stack.ready import free_port
from vibesurf_blocks.tables.records import ControlEntry


async def a_run(prefect: PrefectClient) -> UUID:
    agent = await prefect.read_deployment_by_name("agent-run/agent")
    run = await prefect.create_flow_run_from_deployment(
        agent.id,
        parameters={"task_description": "Say nothing", "session_id": "publisher"},
        state=Cancelled(message="Made for what is published of it."),
    )
    return run.id


@asynccontextmanager
async def behind(stack: LiveStack) -> AsyncIterator[tuple[Proxy, PrefectClient]]:
    """A client of the stack's Prefect server, and the proxy that it goes through."""
    port = free_port()
    with (
        Proxy(port, stack.prefect_port) as proxy,
        temporary_settings({PREFECT_API_URL: stack.prefect_api}),  # for events
    ):
        async with PrefectClient(f"http://127.0.0.1:{port}/api") as client:
            await client.hello()
            yield proxy, client
        await asyncio.to_thread(EventsWorker.drain_all)


async def writes_no_more() -> bool:
    """Whether nothing is published in the background any more."""
    return all(task.get_name() != "publish-progress" for task in asyncio.all_tasks())


async def test_what_was_not_told_while_prefect_was_away_is_told_before_the_result(
    stack: LiveStack, prefect: PrefectClient
) -> None:
    run_id = await a_run(prefect)
    asked = ControlEntry(operation="stop", reason="Enough", asked_at=datetime.now(UTC))
    usage = Usage(input_tokens=3, output_tokens=4)
    async with behind(stack) as (proxy, client):
        publisher = Publisher(client, run_id)
        proxy.cut()
        publisher.start()
        for number in (1, 2):
            step = Step(f"Step {number} of 2", number / 2, done=number == 2, usage=usage)
            publisher.note(number, step)
            publisher.step(number, step, seconds=0.1, engine="reader")
        publisher.history([asked])
        ending = asyncio.create_task(publisher.outcome(Outcome("What was found", ""), None))
        await eventually(writes_no_more, timeout=10)
        assert not ending.done()
        proxy.restore()
        await ending
    journal = StepJournal(prefect, run_id)
    await journal.read()
    assert [note.number for note in journal.notes] == [1, 2]
    shown = (await published(prefect, [run_id]))[run_id]
    assert shown.history == (asked,)
    assert shown.usage is not None
    assert shown.usage.total_tokens == usage.tokens
    assert (shown.progress, shown.step, shown.result) == (100, 2, "What was found")
