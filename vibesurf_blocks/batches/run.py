"""One batch as it runs: starts items as there is room, takes in what ended, reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from prefect.states import Completed, Failed

from vibesurf_blocks.batches import summary
from vibesurf_blocks.batches.files import items_of_batch
from vibesurf_blocks.batches.progress import Progress
from vibesurf_blocks.parents.board import Board
from vibesurf_blocks.parents.parent import Parent
from vibesurf_blocks.prefect_api.artifacts import published
from vibesurf_blocks.prefect_api.parent_artifacts import put_summary
from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from vibesurf_blocks.batches.order import Batch
    from vibesurf_blocks.prefect_api.children import Child


class BatchRun:
    """A running batch. Open one with `BatchRun.of`, advance until it is done, conclude."""

    def __init__(self, parent: Parent, progress: Progress) -> None:
        self._parent = parent
        self._progress = progress
        self._reports: dict[UUID, str] = {}
        self._unread: list[Child] = []
        self._board = Board(
            parent.client, parent.run.id, lambda: summary.table(progress, self._reports)
        )

    @classmethod
    @asynccontextmanager
    async def of(cls, batch: Batch) -> AsyncIterator[Self]:
        """Follow the batch's children for as long as the block runs.

        Raises:
            InvalidInput: The file of items cannot be read as such.
        """
        async with Parent.of_present_run() as parent:
            workspace = parent.settings.workspace_dir
            items = await asyncio.to_thread(items_of_batch, batch, workspace)
            run = cls(parent, Progress.of(batch, items, parent.round, parent.found))
            run._unread = [child for child in parent.found if child.ended]
            run._board.start()
            try:
                yield run
            finally:
                await run._board.close()

    async def advance(self) -> bool:
        """Start what there is room for and take in what has ended; False where nothing is left.

        Raises:
            Abort: Somebody else is to run this flow run.
            Pause: The run was suspended in the Prefect UI.
            Unavailable: The agent's deployment is missing.
        """
        parent, progress = self._parent, self._progress
        if parent.stopping:
            await parent.stop()
            return False
        if progress.done:
            return False
        if not parent.resting:
            slots = await parent.slots() if progress.batch.mode == "parallel" else 1
            for start in progress.next(slots, datetime.now(UTC)):
                task = progress.batch.task(start.entry.item, start.session_id)
                progress.take_in(
                    await parent.start(start.entry.name, start.number, task.model_dump(mode="json"))
                )
                self._board.changed()
        # Only now: while this reads, the next agent already begins.
        await self._read_reports()
        if not progress.done:
            for child in await parent.ended(progress.seconds_to_retry(datetime.now(UTC))):
                progress.take_in(child)
                self._unread.append(child)
        return True

    async def conclude(self) -> State[Any]:
        """Show table and summary, and say how the batch ended.

        Raises:
            Abort: Somebody else is to run this flow run.
        """
        parent, progress = self._parent, self._progress
        for child in await self._at_last():
            progress.take_in(child)
            self._unread.append(child)
        await self._read_reports()
        await self._board.close()
        text = summary.markdown(progress, self._reports, parent.run.name)
        await put_summary(parent.client, parent.run.id, text)
        counts = progress.counts
        total = len(progress.entries)
        if counts[Status.COMPLETED] == total:
            return await parent.conclude(Completed(message=f"All {total} items completed."))
        told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
        stopped = " It stopped at the first failure." if progress.halted else ""
        return await parent.conclude(
            Failed(
                message=f"{counts[Status.COMPLETED]} of {total} items completed ({told}).{stopped} "
                "Retry runs what is missing."
            )
        )

    async def _at_last(self) -> list[Child]:
        """The children that ended while the batch was being stopped, as they ended."""
        last = [entry.last for entry in self._progress.entries.values() if entry.active]
        return await self._parent.again([child for child in last if child is not None])

    async def _read_reports(self) -> None:
        unread, self._unread = self._unread, []
        if unread:
            shown = await published(self._parent.client, [child.run.id for child in unread])
            self._reports |= {id_: one.report_path for id_, one in shown.items() if one.report_path}
            self._board.changed()
