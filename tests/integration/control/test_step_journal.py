"""The journal of a run's steps: whole and in order, whoever writes to it and however often."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.states import Cancelled

from vibesurf_blocks.prefect_api.step_journal import StepJournal, StepNote


def notes(first: int, last: int) -> list[StepNote]:
    now = datetime.now(UTC)
    return [
        StepNote(number=one, name=f"Söme step {one}", progress=one % 100, ok=True, at=now)
        for one in range(first, last + 1)
    ]


async def a_run(prefect: PrefectClient) -> UUID:
    agent = await prefect.read_deployment_by_name("agent-run/agent")
    run = await prefect.create_flow_run_from_deployment(
        agent.id,
        parameters={"task_description": "Say nothing", "session_id": "journal"},
        state=Cancelled(message="Made for its journal."),
    )
    return run.id


async def test_two_writers_in_turn_lose_and_double_nothing(prefect: PrefectClient) -> None:
    run_id = await a_run(prefect)
    one, other = StepJournal(prefect, run_id), StepJournal(prefect, run_id)
    written = notes(1, 260)
    await one.append(written[:3])
    await other.append(written[1:5])  # has not read that some of them are there
    await one.append(written[4:130])
    await one.append(written[100:131])
    await other.append(written[120:260])
    await one.read()
    fresh = StepJournal(prefect, run_id)
    await fresh.read()
    assert fresh.notes == other.notes == one.notes == written
    await fresh.read()
    assert fresh.notes == written
