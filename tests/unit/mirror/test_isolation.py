"""A run that fits into no row keeps no other run from its row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.states import Completed

from vibesurf_blocks.mirror.rows import Names, record_of
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api import artifacts
from vibesurf_blocks.prefect_api.artifacts import Published, published
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import TaskStore
from vibesurf_blocks.tasks import AGENT_FLOW

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODY: Any = None


def run(**more: Any) -> FlowRun:
    return FlowRun(
        id=uuid4(), name="run", flow_id=uuid4(), created=NOW, state=Completed(timestamp=NOW), **more
    )


class Known:
    """The names of everything."""

    async def flow(self, _: object) -> str:
        return AGENT_FLOW

    async def deployment(self, _: object) -> str:
        return "agent"


async def test_the_others_get_their_rows(store: TaskStore, tmp_path: Any) -> None:
    sync = Sync(NOBODY, store, Settings(home=tmp_path))
    sync._names = Known()  # type: ignore[assignment]
    good, bad, other = run(), run(), run()
    bad.created = None
    assert len(await sync.runs([good, bad, other])) == 2
    assert await store.existing_ids([str(one.id) for one in (good, bad, other)]) == {
        str(good.id),
        str(other.id),
    }


def test_what_does_not_fit_is_left_out() -> None:
    strange = run(labels={"vibesurf.recoveries": "x"})
    shown = Published(report_path="/" + "r" * 600)
    record = record_of(strange, shown, Names(AGENT_FLOW, "agent"), "/w")
    assert record.report_path is None
    assert record.task_metadata.recoveries == 0


@pytest.mark.parametrize(
    ("key", "kind", "data"),
    [
        (artifacts.HISTORY_KEY, "table", "5"),
        (artifacts.HISTORY_KEY, "table", 5),
        (artifacts.HISTORY_KEY, "table", "[" * 100_000),
        (artifacts.USAGE_KEY, "table", "5"),
        (artifacts.PROGRESS_KEY, "progress", float("nan")),
        (artifacts.REPORT_KEY, "markdown", "[a](file://[)"),
    ],
)
async def test_strange_artifacts_of_one_run_hide_no_others(
    monkeypatch: pytest.MonkeyPatch, key: str, kind: str, data: Any
) -> None:
    good, bad = uuid4(), uuid4()

    async def found(*_: object) -> list[Artifact]:
        return [
            Artifact(key=key, type=kind, data=data, flow_run_id=bad),
            Artifact(key=artifacts.RESULT_KEY, type="markdown", data="# Result", flow_run_id=good),
        ]

    monkeypatch.setattr(artifacts, "_artifacts_of", found)
    shown = await published(NOBODY, [good, bad])
    assert shown[good].result == "# Result"
    assert shown[bad].history == ()
