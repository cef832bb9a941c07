"""Publishes what a run tells of itself in the background, so that no step waits.

Of progress, usage and history the newest wins; of the steps each is written to the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.events import emit_event

from vibesurf_blocks.engines.protocol import Outcome, Step
from vibesurf_blocks.prefect_api import artifacts
from vibesurf_blocks.prefect_api.step_journal import StepJournal, StepNote
from vibesurf_blocks.prefect_api.step_runs import running_step
from vibesurf_blocks.run.events import PUBLISHED_EVENT, STEP_EVENT
from vibesurf_blocks.tables.records import ControlEntry, ModelUsage

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture to publish.

    Attributes:
        task_run_id: The step's task run.
        description: The step's number and name.
        file: The picture.
    """

    task_run_id: UUID | None
    description: str
    file: Path


class Publisher:
    """What one run tells Prefect beside its states."""

    def __init__(self, client: PrefectClient, run_id: UUID) -> None:
        self._client = client
        self._run_id = run_id
        self._resource = {
            "prefect.resource.id": f"prefect.flow-run.{run_id}",
            "prefect.resource.name": "agent-run",
        }
        self._progress: UUID | None = None
        self._table: UUID | None = None
        self._newest: artifacts.Progress | None = None
        self._journal = StepJournal(client, run_id)
        self._journal_read = False
        self._untold: list[StepNote] = []
        self._history: tuple[ControlEntry, ...] | None = None
        self._usage: ModelUsage | None = None
        self._usage_table: UUID | None = None
        self._pictures: deque[_Picture] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to publish; returns at once."""
        self._task = asyncio.create_task(self._publish(), name="publish-progress")

    @property
    def untold(self) -> tuple[StepNote, ...]:
        """Finished steps that may not be in the journal yet; to be kept until they are."""
        return tuple(self._untold)

    def begin(self) -> None:
        """Tell that no step is done yet, whatever an earlier life of the run has shown."""
        self._newest = artifacts.Progress()
        self._wake.set()

    def restore(self, untold: Sequence[StepNote], history: Sequence[ControlEntry]) -> None:
        """Take over what an earlier process of the run may not have told."""
        self._untold[:0] = untold
        if untold:
            last = untold[-1]
            self._newest = artifacts.Progress(last.progress / 100, last.number, last.name)
        if history:
            self._history = tuple(history)
        self._wake.set()

    def note(self, number: int, step: Step) -> None:
        """Note a finished step for the journal."""
        percent = max(0, min(100, int(round(100 * step.progress, 1))))
        self._untold.append(
            StepNote(
                number=number, name=step.name, progress=percent, ok=step.ok, at=datetime.now(UTC)
            )
        )

    def step(self, number: int, step: Step, *, seconds: float, engine: str) -> None:
        """Tell of a noted step: an event now, journal and progress artifact as soon as may be.

        Args:
            number: Of the step, from 1.
            step: What was done.
            seconds: How long it took.
            engine: What drove it: `reader`, `browser-use` or `backend`.
        """
        payload = {
            "number": number,
            "name": step.name,
            "progress": step.progress,
            "ok": step.ok,
            "seconds": round(seconds, 3),
            "engine": engine,
        }
        emit_event(STEP_EVENT, resource=self._resource, payload=payload)
        self._newest = artifacts.Progress(step.progress, number, step.name)
        if step.picture is not None:
            description = f"Step {number}: {step.name}"
            self._pictures.append(_Picture(running_step(), description, step.picture))
        if step.usage is not None:
            self._usage = ModelUsage(
                input_tokens=step.usage.input_tokens,
                output_tokens=step.usage.output_tokens,
                total_tokens=step.usage.tokens,
                cost=step.usage.cost,
            )
        self._wake.set()

    def history(self, entries: Sequence[ControlEntry]) -> None:
        """Tell what was asked of the run so far, as soon as may be."""
        self._history = tuple(entries)
        self._wake.set()

    async def outcome(self, outcome: Outcome, report: Path | None) -> None:
        """Publish result and report, after everything else that is left to tell.

        Raises:
            httpx.HTTPError: Prefect was away for longer than its client tries.
        """
        await self.rest()
        writes = [artifacts.create_result(self._client, self._run_id, outcome.result)]
        if report is not None:
            writes.append(artifacts.create_report(self._client, self._run_id, report))
        await asyncio.gather(*writes)
        # No state need follow: a suspended run may have been cancelled meanwhile.
        emit_event(PUBLISHED_EVENT, resource=self._resource)

    async def rest(self) -> None:
        """Publish what is left and stop; waits for Prefect as the write of the result does.

        Once the run has ended nobody can tell it any more.

        Raises:
            httpx.HTTPError: Prefect was away for longer than its client tries.
        """
        await self.close()
        try:
            await self._write_words()
        except httpx.HTTPStatusError as error:
            if error.response.is_server_error:
                raise
            # It will not be taken the next time either, and must not cost the result.
            logger.warning("The last progress of run %s was refused: %s", self._run_id, error)

    async def close(self) -> None:
        """Publish what can be published in some seconds and stop; safe to call twice."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._closing = True
        self._wake.set()
        # Not cut off while it writes: what is written then would be written twice.
        await asyncio.wait({task}, timeout=_FLUSH_SECONDS)
        if not task.done():
            logger.warning("The last progress of run %s was not published in time.", self._run_id)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _publish(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            last = self._closing
            try:
                await self._write()
            except Exception as error:  # noqa: BLE001 - the next step publishes again
                logger.warning("Progress of run %s was not published: %r", self._run_id, error)
                if last:
                    return
            if last:
                if not self._pictures:
                    return
                self._wake.set()

    async def _write(self) -> None:
        await self._write_words()
        if self._pictures:
            await self._write_picture()

    async def _write_words(self) -> None:
        """Publish all but the pictures; what was cut off or failed can be repeated."""
        told = bool(self._untold)
        if self._untold:
            if not self._journal_read:
                await self._journal.read()
                self._journal_read = True
            notes = self.untold
            await self._journal.append(notes)
            del self._untold[: len(notes)]
        newest = self._newest
        if newest is not None:
            if self._progress is None:
                self._progress = await artifacts.create_progress(self._client, self._run_id, newest)
            else:
                await artifacts.update_progress(self._client, self._progress, newest)
            told = True
            if self._newest is newest:
                self._newest = None
        history = self._history
        if history is not None:
            if self._table is None:
                self._table = await artifacts.create_history(self._client, self._run_id, history)
            else:
                await artifacts.update_history(self._client, self._table, history)
            told = True
            if self._history is history:
                self._history = None
        usage = self._usage
        if usage is not None:
            if self._usage_table is None:
                self._usage_table = await artifacts.create_usage(self._client, self._run_id, usage)
            else:
                await artifacts.update_usage(self._client, self._usage_table, usage)
            told = True
            if self._usage is usage:
                self._usage = None
        if told:
            emit_event(PUBLISHED_EVENT, resource=self._resource)

    async def _write_picture(self) -> None:
        """Publish one picture: they are large, and the rest must not wait for all of them."""
        one = self._pictures.popleft()
        if self._pictures:
            self._wake.set()
        with suppress(FileNotFoundError):
            await artifacts.create_picture(
                self._client, self._run_id, one.task_run_id, one.description, one.file
            )
