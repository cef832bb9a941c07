"""What a run leaves on Prefect for people and the mirror: progress, pictures, result, report."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact

from vibesurf_blocks.tables.records import ControlEntry, ModelUsage

logger = logging.getLogger(__name__)

PROGRESS_KEY: Final = "vibesurf-progress"
RESULT_KEY: Final = "vibesurf-result"
REPORT_KEY: Final = "vibesurf-report"
HISTORY_KEY: Final = "vibesurf-history"
USAGE_KEY: Final = "vibesurf-usage"
PICTURE_KEY: Final = "vibesurf-step"
"""Of the pictures, which are for people alone: nobody reads them back."""

_READ: Final = [PROGRESS_KEY, RESULT_KEY, REPORT_KEY, HISTORY_KEY, USAGE_KEY]

_PAGE = 200
_STEP = re.compile(r"^Step (\d{1,9}): (.*)$", re.DOTALL)
_REPORT_LINK = re.compile(r"\]\((file:[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Published:
    """What a run has published so far.

    Attributes:
        progress: Per cent, 0 to 100.
        step: Number of the last step told of, 0 before the first.
        active_step: What that step did, None before the first.
        result: The result as markdown, None while there is none.
        report_path: The report's path on the host that ran the agent, None while there is none.
        history: What was asked of the run and what came of that.
        usage: What the run used of its model, None where it has told of nothing.
    """

    progress: int = 0
    step: int = 0
    active_step: str | None = None
    result: str | None = None
    report_path: str | None = None
    history: tuple[ControlEntry, ...] = ()
    usage: ModelUsage | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done: The part that is done, from 0 to 1.
        step: Steps finished.
        name: What the last of them did.
    """

    done: float = 0.0
    step: int = 0
    name: str = ""

    @property
    def percent(self) -> float:
        """The part that is done, in per cent."""
        return round(100 * self.done, 1)

    @property
    def description(self) -> str | None:
        """The last step in words, None before the first one."""
        return f"Step {self.step}: {self.name}" if self.step else None


async def create_progress(client: PrefectClient, run_id: UUID, progress: Progress) -> UUID:
    """Begin a progress artifact of the run and return its id."""
    artifact = await client.create_artifact(
        ArtifactCreate(
            key=PROGRESS_KEY,
            type="progress",
            description=progress.description,
            flow_run_id=run_id,
            data=progress.percent,
        )
    )
    return artifact.id


async def update_progress(client: PrefectClient, artifact_id: UUID, progress: Progress) -> None:
    """Tell how far the run is by now."""
    await client.update_artifact(
        artifact_id, ArtifactUpdate(data=progress.percent, description=progress.description)
    )


async def create_result(client: PrefectClient, run_id: UUID, markdown: str) -> None:
    """Publish the result, which may be partial, as a markdown artifact."""
    await client.create_artifact(
        ArtifactCreate(key=RESULT_KEY, type="markdown", flow_run_id=run_id, data=markdown)
    )


async def create_report(client: PrefectClient, run_id: UUID, path: Path) -> None:
    """Publish where the report lies, as a link artifact."""
    await client.create_artifact(
        ArtifactCreate(
            key=REPORT_KEY,
            type="markdown",
            description="The report of this run, a page for people.",
            flow_run_id=run_id,
            data=f"[{path.name}]({path.as_uri()})",
        )
    )


async def create_history(
    client: PrefectClient, run_id: UUID, history: Sequence[ControlEntry]
) -> UUID:
    """Publish what was asked of the run as a table, and return its id."""
    artifact = await client.create_artifact(
        ArtifactCreate(
            key=HISTORY_KEY,
            type="table",
            description="What was asked of this run, and when it took effect.",
            flow_run_id=run_id,
            data=_table(history),
        )
    )
    return artifact.id


async def update_history(
    client: PrefectClient, artifact_id: UUID, history: Sequence[ControlEntry]
) -> None:
    """Replace the table."""
    await client.update_artifact(artifact_id, ArtifactUpdate(data=_table(history)))


async def create_picture(
    client: PrefectClient, run_id: UUID, task_run_id: UUID | None, description: str, picture: Path
) -> None:
    """Publish what the agent saw as an image artifact, which holds the picture itself."""
    data = base64.b64encode(await asyncio.to_thread(picture.read_bytes)).decode()
    await client.create_artifact(
        ArtifactCreate(
            key=PICTURE_KEY,
            type="image",
            description=description,
            flow_run_id=run_id,
            task_run_id=task_run_id,
            data=f"data:image/jpeg;base64,{data}",
        )
    )


async def create_usage(client: PrefectClient, run_id: UUID, usage: ModelUsage) -> UUID:
    """Publish what the run used of its model as a table, and return its id."""
    artifact = await client.create_artifact(
        ArtifactCreate(
            key=USAGE_KEY,
            type="table",
            description="What this run has used of its model.",
            flow_run_id=run_id,
            data=_usage_table(usage),
        )
    )
    return artifact.id


async def update_usage(client: PrefectClient, artifact_id: UUID, usage: ModelUsage) -> None:
    """Replace the table."""
    await client.update_artifact(artifact_id, ArtifactUpdate(data=_usage_table(usage)))


def _usage_table(usage: ModelUsage) -> str:
    return json.dumps([usage.model_dump(mode="json")])


async def read_history(client: PrefectClient, run_id: UUID) -> tuple[ControlEntry, ...]:
    """What was asked of one run so far, oldest first; what is there keeps its place."""
    found = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]),
            key=ArtifactFilterKey(any_=[HISTORY_KEY]),
        ),
        limit=_PAGE,
    )
    tables = sorted(found, key=lambda one: (str(one.created), str(one.id)))
    return merged(_history(one) for one in tables)


def merged(histories: Iterable[Sequence[ControlEntry]]) -> tuple[ControlEntry, ...]:
    """The histories of a run's processes, oldest first, as one that never gets shorter.

    A process that took over from one that died repeats what was asked before; one that Prefect
    started anew, after the run had failed, knows nothing of it.
    """
    entries: dict[tuple[str, datetime], ControlEntry] = {}
    for history in histories:
        for entry in history:
            entries.setdefault((entry.operation, entry.asked_at), entry)
    return tuple(entries.values())


def _table(history: Sequence[ControlEntry]) -> str:
    return json.dumps([entry.model_dump(mode="json") for entry in history])


async def published(client: PrefectClient, run_ids: Sequence[UUID]) -> dict[UUID, Published]:
    """What these runs have published, read in batches; runs with nothing are left out."""
    artifacts: list[Artifact] = []
    for start in range(0, len(run_ids), _PAGE // 4):
        chunk = list(run_ids[start : start + _PAGE // 4])
        artifacts += await _artifacts_of(client, chunk)
    by_run: dict[UUID, list[Artifact]] = {}
    for artifact in artifacts:
        if artifact.flow_run_id is not None:
            by_run.setdefault(artifact.flow_run_id, []).append(artifact)
    shown: dict[UUID, Published] = {}
    for run_id, found in by_run.items():
        try:
            shown[run_id] = _gather(found)
        except Exception as error:  # noqa: BLE001 - one run's artifacts concern no other run
            logger.warning("What the run %s published cannot be read: %r", run_id, error)
    return shown


async def last_published(client: PrefectClient, run_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When each of these runs last published anything (UTC); none that never did."""
    found: dict[UUID, datetime] = {}
    for artifact in await _artifacts_of(client, list(run_ids)) if run_ids else []:
        moment = artifact.updated
        if artifact.flow_run_id is not None and moment is not None:
            found[artifact.flow_run_id] = max(moment, found.get(artifact.flow_run_id, moment))
    return found


async def _artifacts_of(client: PrefectClient, run_ids: list[UUID]) -> list[Artifact]:
    found: list[Artifact] = []
    while True:
        page = await client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=run_ids),
                key=ArtifactFilterKey(any_=_READ),
            ),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found


def _gather(artifacts: Iterable[Artifact]) -> Published:
    # A run that was started again has several of a kind: the newest counts.
    newest: dict[str | None, Artifact] = {}
    for artifact in sorted(artifacts, key=lambda one: (str(one.created), str(one.id))):
        newest[artifact.key] = artifact
    progress, step, active = 0, 0, None
    if (shown := newest.get(PROGRESS_KEY)) is not None:
        progress = _percent(shown.data)
        if match := _STEP.match(shown.description or ""):
            step, active = int(match[1]), match[2]
    result = newest.get(RESULT_KEY)
    report = newest.get(REPORT_KEY)
    return Published(
        progress=progress,
        step=step,
        active_step=active,
        result=str(result.data) if result is not None and result.data is not None else None,
        report_path=_path(str(report.data)) if report is not None else None,
        history=_history(newest.get(HISTORY_KEY)),
        usage=_usage(newest.get(USAGE_KEY)),
    )


def _usage(artifact: Artifact | None) -> ModelUsage | None:
    if artifact is None or not isinstance(artifact.data, str):
        return None
    try:
        return ModelUsage.model_validate(json.loads(artifact.data)[0])
    except (
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ):  # a table of somebody else's under our key
        return None


def _history(artifact: Artifact | None) -> tuple[ControlEntry, ...]:
    if artifact is None or not isinstance(artifact.data, str):
        return ()
    try:
        return tuple(ControlEntry.model_validate(one) for one in json.loads(artifact.data))
    except (ValueError, TypeError, RecursionError):  # a table of somebody else's under our key
        return ()


def _percent(data: object) -> int:
    if not isinstance(data, (int, float)) or not math.isfinite(data):
        return 0
    return max(0, min(100, int(data)))


def _path(markdown: str) -> str | None:
    match = _REPORT_LINK.search(markdown)
    try:
        return unquote(urlsplit(match[1]).path) if match else None
    except ValueError:  # no link that can be
        return None
