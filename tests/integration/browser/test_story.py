"""From the command to the report: a form is filled in, a table is read over three pages."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import TaskRunSort

from tests.support.commands import command
from tests.support.model_server import ModelServer, done
from tests.support.moves import clicks, moves, opens, types
from tests.support.profiles import KEY
from tests.support.stack import LiveStack
from tests.support.tasks import completes
from tests.support.web import Web
from vibesurf_blocks.prefect_api.artifacts import PICTURE_KEY

TASK = "Order for Ada, then list what items cost."
ANSWER = "Ordered for Ada. Nine items cost 10 to 90 EUR."


async def test_a_form_is_filled_in_and_three_pages_are_read(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    model: ModelServer,
    web: Web,
    named: str,
) -> None:
    model.script(
        moves(opens(web.form)),
        moves(types("id=name", "Ada"), types("id=mail", "ada@example.org")),
        moves(clicks("id=send")),
        moves(opens(web.table())),
        moves(clicks("Next")),
        moves(clicks("Next")),
        done(ANSWER),
    )

    said = await command(stack.api, "run", TASK, "--profile", named, "--session", "s-1", "--json")
    assert said.code == 0, said.words
    task_id = said.json["task_id"]
    row = await completes(api, task_id)

    assert web.sent == [{"name": "Ada", "mail": "ada@example.org", "size": "small"}]
    assert row["task_result"] == ANSWER
    assert [f"Item {number}" in model.asked[-1].text for number in (6, 7, 9)] == [False, True, True]
    usage = row["task_metadata"]["usage"]
    assert usage == {
        "input_tokens": 700,
        "output_tokens": 140,
        "total_tokens": 840,
        "cost": 0.00252,
    }
    names = await step_names(prefect, task_id)
    assert names[0] == f"Open {web.form}"
    assert names[1].startswith("Type 'Ada' into field 'Name'; Type 'ada@example.org' into")
    assert names[2] == "Click button 'Send'"
    assert names[-1] == f"Done: {ANSWER}"
    pictures = [
        one.data
        for one in await prefect.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(task_id)])
            )
        )
        if one.key == PICTURE_KEY
    ]
    assert len(pictures) == 7
    assert all(str(data).startswith("data:image/jpeg;base64,/9j/") for data in pictures)
    report = await asyncio.to_thread(Path(row["report_path"]).read_text)
    assert ANSWER in report
    assert report.count('<img class="shot" src="data:image/jpeg;base64,') == 7
    assert KEY not in await told_of(stack, api, prefect, task_id)
    assert KEY not in "".join(str(one.body) for one in model.asked) + stack.said()
    # It loads nothing: what it shows, it holds.
    assert not re.search(r'(?:src|srcset|data)="(?!data:)', report)


async def told_of(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, task_id: str
) -> str:
    """All that is told of a run: row, run, steps, logs, artifacts, events, report, files."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(task_id)]))
    row = (await api.get(f"/tasks/{task_id}")).text
    run = await prefect.read_flow_run(UUID(task_id))
    steps = await prefect.read_task_runs(flow_run_filter=of_run)
    logs = await prefect.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(task_id)])))
    artifacts = await prefect.read_artifacts(flow_run_filter=of_run)
    events = await prefect.request(
        "POST",
        "/events/filter",
        json={
            "filter": {"any_resource": {"id": [f"prefect.flow-run.{task_id}"]}, "order": "ASC"},
            "limit": 50,
        },
    )
    assert logs
    assert events.json()["events"]
    session = stack.settings.workspace_dir / "s-1"
    files = [
        path.read_text(errors="replace")
        for path in (*session.rglob("*.html"), *session.parent.glob(".checkpoints/**/*"))
        if path.is_file()
    ]
    return "\n".join([row, str(run), str(steps), str(logs), str(artifacts), events.text, *files])


async def step_names(prefect: PrefectClient, task_id: str) -> list[str]:
    """The names of a run's steps, in order."""
    steps = await prefect.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(task_id)])),
        sort=TaskRunSort.END_TIME_DESC,
    )
    return [one.name for one in sorted(steps, key=lambda one: str(one.start_time))]
