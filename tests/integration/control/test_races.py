"""What is asked while something else is decided is not overwritten, and nothing comes twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import AwaitingRetry, Cancelling, Completed, Paused, Running

from tests.support.book import Books
from tests.support.control import at_rest, run_of, state_of
from tests.support.tasks import ends, submit
from vibesurf_blocks.prefect_api.labels import ATTEMPT, WORKER
from vibesurf_blocks.worker.recovery import Recovery


@flow(name="quiet")
def quiet() -> None:
    """A flow of which nothing is ever run."""


@pytest.fixture
async def run(prefect: PrefectClient) -> AsyncIterator[FlowRun]:
    """A run that is Running by Prefect's word alone; no worker looks after it."""
    # Without a deployment Prefect would retry none that has ended.
    deployment = await prefect.create_deployment(await prefect.create_flow(quiet), "quiet")
    made = await prefect.create_flow_run_from_deployment(deployment)
    await prefect.set_flow_run_state(made.id, Running(), force=True)
    yield await prefect.read_flow_run(made.id)
    await prefect.delete_flow_run(made.id)
    await prefect.delete_deployment(deployment)


def _recovery(
    prefect: PrefectClient, max_recoveries: Callable[[FlowRun], Awaitable[int]]
) -> Recovery:
    async def nothing_to_save(_run: FlowRun) -> None:
        pass

    return Recovery(
        prefect,
        "nobody",
        "this one",
        loose_seconds=60,
        gap_seconds=60,
        max_recoveries=max_recoveries,
        salvage=nothing_to_save,
    )


@pytest.mark.parametrize(
    "state", [Paused(), Running(), AwaitingRetry()], ids=lambda state: state.name
)
async def test_prefect_lets_nothing_but_the_end_follow_a_stop(
    prefect: PrefectClient, run: FlowRun, state: State[Any]
) -> None:
    """Agents and workers rely on it, instead of asking before they write."""
    await prefect.set_flow_run_state(run.id, Cancelling(message="Enough"))

    answer = await prefect.set_flow_run_state(run.id, state)

    assert answer.status is SetStateStatus.REJECT
    assert (await state_of(prefect, str(run.id))).message == "Enough"


async def test_a_stop_that_comes_while_a_recovery_is_decided_on_is_kept(
    prefect: PrefectClient, run: FlowRun
) -> None:
    async def most(_run: FlowRun) -> int:
        await prefect.set_flow_run_state(run.id, Cancelling(message="Enough"))
        return 2

    recovery = _recovery(prefect, most)
    await recovery.see_to(run, "was killed by SIGKILL")

    state = await state_of(prefect, str(run.id))
    assert (state.type, state.message) == (StateType.CANCELLED, "Enough")


@pytest.mark.parametrize("most", [0, 2], ids=["given up", "started again"])
async def test_an_end_that_prefect_takes_note_of_while_a_recovery_is_decided_on_is_kept(
    prefect: PrefectClient, run: FlowRun, most: int
) -> None:
    async def last_words(_run: FlowRun) -> int:
        await prefect.set_flow_run_state(run.id, Completed(message="Done in 3 steps."))
        return most

    recovery = _recovery(prefect, last_words)
    await recovery.see_to(run, "was killed by SIGKILL", had_process=True)

    state = await state_of(prefect, str(run.id))
    assert (state.type, state.message) == (StateType.COMPLETED, "Done in 3 steps.")


@pytest.mark.parametrize(
    "label", [{WORKER: "another one"}, {ATTEMPT: 1}], ids=["worker", "attempt"]
)
async def test_the_end_of_a_process_is_none_of_the_run_that_another_one_has(
    prefect: PrefectClient, run: FlowRun, label: dict[str, Any]
) -> None:
    async def most(_run: FlowRun) -> int:
        return 2

    await prefect.update_flow_run_labels(run.id, label)

    await _recovery(prefect, most).see_to(run, "was killed by SIGKILL", had_process=True)

    assert (await state_of(prefect, str(run.id))).is_running()


async def test_a_retry_in_prefect_does_what_was_asked_before_not_again(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(6)
    task_id = await submit(api, book.task, max_steps=4)
    await book.until_asked(1)
    await at_rest(api, book, task_id)
    await prefect.resume_flow_run(UUID(task_id))  # as the UI's button does: no command
    book.let_all()
    row = await ends(api, task_id)
    assert row["status"] == "failed"
    before = (await run_of(prefect, task_id)).run_count

    await prefect.set_flow_run_state(UUID(task_id), AwaitingRetry(), force=True)
    await book.until_asked(4, times=2)

    row = await ends(api, task_id)
    states = await prefect.read_flow_run_states(UUID(task_id))
    assert (await run_of(prefect, task_id)).run_count > before
    assert [one.type for one in states].count(StateType.PAUSED) == 1
