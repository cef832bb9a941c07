"""One workflow as it runs: starts the steps whose time has come, takes in what ended, reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from prefect.states import Completed, Failed
from pydantic import ValidationError

from vibesurf_blocks.alerts.rules import Alerts
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.parents.board import Board
from vibesurf_blocks.parents.parent import Parent
from vibesurf_blocks.prefect_api.artifacts import Published, published
from vibesurf_blocks.prefect_api.parent_artifacts import put_summary
from vibesurf_blocks.tasks import AgentMode, AgentTask
from vibesurf_blocks.validation import told
from vibesurf_blocks.workflows import summary, templates
from vibesurf_blocks.workflows.check import check_templates
from vibesurf_blocks.workflows.definition import Outcome
from vibesurf_blocks.workflows.progress import Ended, Progress, Start, ended_as

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from vibesurf_blocks.prefect_api.children import Child
    from vibesurf_blocks.workflows.definition import Inputs, Step, Workflow

_RESULT_LIMIT: Final = 20_000
"""Characters of a result that are filled into a task at the most."""


class WorkflowRun:
    """A running workflow. Open one with `WorkflowRun.of`, advance until done, conclude."""

    def __init__(
        self,
        parent: Parent,
        progress: Progress,
        inputs: Mapping[str, str | int | float | bool],
        profile: str | None,
        mode: AgentMode,
        alerts: Alerts | None,
    ) -> None:
        self._parent = parent
        self._progress = progress
        self._inputs = inputs
        self._profile = profile
        self._mode = mode
        self._alerts = alerts
        self._board = Board(parent.client, parent.run.id, lambda: summary.table(progress))

    @classmethod
    @asynccontextmanager
    async def of(
        cls,
        workflow: Workflow,
        session_id: str,
        inputs: Inputs,
        profile: str | None,
        mode: AgentMode,
        alerts: Alerts | None,
    ) -> AsyncIterator[Self]:
        """Follow the workflow's children for as long as the block runs.

        Raises:
            InvalidInput: A task asks for what there is not.
        """
        filled = {**workflow.inputs, **inputs}
        try:
            check_templates(workflow, filled)
        except ValueError as error:
            raise InvalidInput(str(error)) from error
        async with Parent.of_present_run() as parent:
            found = await _taken_in(parent, parent.found)
            progress = Progress.of(workflow, session_id, parent.round, found)
            run = cls(parent, progress, filled, profile, mode, alerts)
            run._board.start()
            try:
                yield run
            finally:
                await run._board.close()

    async def advance(self) -> bool:
        """Start the steps whose time has come; False where nothing is left to do.

        Raises:
            Abort: Somebody else is to run this flow run.
            Pause: The run was suspended in the Prefect UI.
            Unavailable: The agent's deployment is missing.
        """
        parent, progress = self._parent, self._progress
        if parent.stopping:
            await parent.stop()
            return False
        if not parent.resting:
            while starts := progress.next(datetime.now(UTC)):
                for start in starts:
                    await self._start(start)
            self._board.changed()
        await self._tell()
        if progress.done:
            return False
        ended = await parent.ended(progress.seconds_to_retry(datetime.now(UTC)))
        for how in await _taken_in(parent, ended):
            if isinstance(how, Ended):
                progress.end(how)
                self._board.changed()
        return True

    async def conclude(self) -> State[Any]:
        """Show table and summary, and say how the workflow ended.

        Raises:
            Abort: Somebody else is to run this flow run.
        """
        parent, progress = self._parent, self._progress
        last = await parent.again(progress.active.values())
        for how in await _taken_in(parent, [child for child in last if child.ended]):
            if isinstance(how, Ended):
                progress.end(how)
        await self._board.close()
        text = summary.markdown(progress, progress.workflow.name or parent.run.name)
        await put_summary(parent.client, parent.run.id, text)
        failures = progress.failures
        if failures:
            reasons = "; ".join(
                f"step {name!r} {progress.ended[name].outcome}: {progress.ended[name].why}"
                for name in failures
            )
            return await parent.conclude(Failed(message=reasons))
        completed = sum(how.outcome is Outcome.COMPLETED for how in progress.ended.values())
        total = len(progress.workflow.steps)
        return await parent.conclude(Completed(message=f"{completed} of {total} steps completed."))

    async def _start(self, start: Start) -> None:
        try:
            task = self._task(start.step, start.session_id)
        except InvalidInput as error:
            self._progress.fail(start.step.name, error.message)
            return
        child = await self._parent.start(
            start.step.name, start.number, task.model_dump(mode="json"), start.after
        )
        if child.ended:
            for how in await _taken_in(self._parent, [child]):
                if isinstance(how, Ended):
                    self._progress.end(how)
        else:
            self._progress.begin(child)

    async def _tell(self) -> None:
        """Have people told of steps that failed, where the workflow asks for it; each once.

        Of a failure in an earlier round they were told then.
        """
        for step in self._progress.workflow.steps:
            how = self._progress.ended.get(step.name)
            failed = how is not None and how.outcome is Outcome.FAILED and not how.earlier
            if step.on_failure.alert and how is not None and failed:
                await self._parent.tell_failed(step.name, how.why, self._alerts)

    def _task(self, step: Step, session_id: str) -> AgentTask:
        """The task of a step, filled in.

        Raises:
            InvalidInput: What came of it is no task.
        """
        text = templates.fill(step.task, self._fields(step), self._inputs)
        try:
            return AgentTask(
                task_description=text,
                session_id=session_id,
                llm_profile_name=step.llm_profile_name or self._profile,
                upload_files_path=step.upload_files_path,
                agent_mode=step.agent_mode or self._mode,
                max_steps=step.max_steps,
                timeout_seconds=step.timeout_seconds,
                idle_seconds=step.idle_seconds,
            )
        except ValidationError as error:
            msg = f"its task, filled in, is none: {told(error)}"
            raise InvalidInput(msg) from error

    def _fields(self, step: Step) -> dict[str, dict[str, str]]:
        """What templates may say of the steps that have ended."""
        fields = {}
        for name in self._progress.ended:
            how = self._progress.resolved(name, step.name)
            if how is not None:
                fields[name] = {
                    "result": how.result[:_RESULT_LIMIT],
                    "status": how.outcome.value,
                    "error": how.why,
                    "task_id": str(how.child.run.id) if how.child else "",
                    "report": how.report or "",
                }
        return fields


async def _taken_in(parent: Parent, children: Iterable[Child]) -> list[Ended | Child]:
    """Children as progress takes them in: those that have ended with what they published."""
    found = list(children)
    ended = [child.run.id for child in found if child.ended]
    shown = await published(parent.client, ended) if ended else {}
    taken: list[Ended | Child] = []
    for child in found:
        if child.ended:
            what = shown.get(child.run.id, Published())
            taken.append(ended_as(child, what.result or "", what.report_path))
        else:
            taken.append(child)
    return taken
