"""Takes over a VibeSurf database, or says what that would do; a second time changes nothing.

Tasks become rows that are marked as adopted: Prefect knows nothing of their runs, so the mirror,
which derives rows from Prefect, leaves them alone. Profiles become blocks and schedules become
schedules of deployments, and their rows are the mirror's work as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from vibesurf_blocks.adopt import here
from vibesurf_blocks.adopt import keys as machine_keys
from vibesurf_blocks.adopt.at_work import at_work
from vibesurf_blocks.adopt.files import Reports
from vibesurf_blocks.adopt.profiles import Profile, profile_of
from vibesurf_blocks.adopt.report import Leave, Report, What
from vibesurf_blocks.adopt.schedules import Wanted, schedule_of
from vibesurf_blocks.adopt.source import opened
from vibesurf_blocks.adopt.tasks import task_of
from vibesurf_blocks.api import schedules as rest_schedules
from vibesurf_blocks.errors import Conflict, InvalidInput, Unavailable
from vibesurf_blocks.models.profiles import by_name, default_of, document_name
from vibesurf_blocks.prefect_api import block_documents
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.tasks import BACKEND_BLOCK, BACKEND_BLOCK_TYPE, LLM_PROFILE_TYPE

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from vibesurf_blocks.adopt.keys import Keys
    from vibesurf_blocks.adopt.source import Source
    from vibesurf_blocks.adopt.tasks import Taken
    from vibesurf_blocks.api.context import Context
    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tables.records import TaskRecord

_HISTORY: Final = "execution_count and last_execution_at are VibeSurf's: here they begin anew"

NO_PREFECT: Final = "needs a Prefect server: set PREFECT_API_URL and adopt again"

_OTHERS: Final = {
    "mcp_profiles": "MCP servers are not taken over: put them into an MCP Servers block",
    "composio_toolkits": "toolkits are not taken over: put them into a Composio Toolkits block",
    "credentials": "credentials are not taken over: put them into the blocks that need them",
    "voice_profiles": "there are no voices here",
    "uploaded_files": "uploaded files stay in VibeSurf's workspace",
    "workflow_skills": "workflows stay in VibeSurf, and so do their skills",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says of it.

    Attributes:
        apply: Whether to write, as opposed to say what would be written.
        workspace: VibeSurf's workspace, from which reports are copied; None copies none.
        machine_id: An id of the machine that VibeSurf ran on, where that was another.
        ended: Whether VibeSurf surely runs no more, though a process has its database open or
            cannot be looked into.
    """

    apply: bool = False
    workspace: Path | None = None
    machine_id: str | None = None
    ended: bool = False


async def adopt(
    settings: Settings,
    where: str,
    options: Options,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Report:
    """Take over the VibeSurf database at `where`, or say what that would do.

    Args:
        settings: Where the tables and the workspace are.
        where: Its path, or a URL of SQLite.
        options: What to do.
        progress: Told how many tasks are done, and of how many.

    Raises:
        InvalidInput: It is no VibeSurf database, or damaged; nothing was written.
        Unavailable: The tables, Prefect or the database do not answer.
    """
    if options.workspace is not None and not options.workspace.is_dir():
        msg = f"There is no folder {options.workspace}: name VibeSurf's workspace."
        raise InvalidInput(msg)
    with opened(where) as source:
        here.see_that_it_is_another(settings, source.path)
        report = Report(str(source.path), source.version, options.apply)
        async with here.opened(settings, apply=options.apply) as place:
            try:
                # Tasks first: the mirror asks once when a profile that is new to it was last used.
                await _tasks(settings, source, place, options, report, progress)
                await _profiles(source, place, options, report)
                await _schedules(settings, source, place, report)
            except httpx.HTTPError as error:
                msg = (
                    f"Prefect stopped answering ({type(error).__name__}); what was taken over is "
                    "kept: adopt again for the rest."
                )
                raise Unavailable(msg) from error
        _others(source, report)
    return report


async def _tasks(
    settings: Settings,
    source: Source,
    place: here.Here,
    options: Options,
    report: Report,
    progress: Callable[[int, int], None],
) -> None:
    counts = report.counts[What.TASKS]
    total = source.count("tasks")
    reports = Reports(options.workspace, settings.workspace_dir, write=options.apply)
    now = datetime.now(UTC)
    ended = options.ended or await asyncio.to_thread(at_work, source.path) is False
    for page in source.pages("tasks"):
        taken: dict[str, Taken] = {}
        for row in page:
            counts.found += 1
            try:
                task = task_of(row, workspace=settings.workspace_dir, now=now, ended=ended)
            except Leave as why:
                report.left(What.TASKS, str(row["task_id"])[:36], str(why))
                continue
            taken[task.record.task_id] = task
        known = await place.store.many(taken) if place.store is not None else {}
        written: list[TaskRecord] = []
        for task_id, task in taken.items():
            try:
                record = _merged(_with_report(task, reports, report), known.get(task_id))
            except Leave as why:
                report.left(What.TASKS, task_id, str(why))
                continue
            report.mended(What.TASKS, task_id, task.mended)
            if task_id not in known:
                counts.taken += 1
            elif record != known[task_id]:
                counts.changed += 1
            else:
                counts.already += 1
                continue
            written.append(record)
        if options.apply and place.store is not None:
            await place.store.upsert(written)
        progress(counts.found, total)


def _with_report(task: Taken, reports: Reports, report: Report) -> TaskRecord:
    """The row of a task with its report, where that can be taken along."""
    if task.report is None:
        return task.record
    try:
        path = reports.take(task.report, task.workspace, task.record.session_id)
    except Leave as why:
        report.left(What.TASKS, task.record.task_id, str(why), whole=False)
        return task.record
    return task.record.model_copy(update={"report_path": path})


def _merged(record: TaskRecord, before: TaskRecord | None) -> TaskRecord:
    """What a row becomes that was perhaps taken over before.

    Raises:
        Leave: The row is not one of VibeSurf's, or has ended otherwise.
    """
    if before is None:
        return record
    if before.task_metadata.adopted is None:
        msg = "its id is that of a task here"
        raise Leave(msg)
    if before.status is not record.status:
        msg = (
            f"is {record.status} in VibeSurf by now, and was taken over as {before.status}: what "
            "has ended here stays as it is"
        )
        raise Leave(msg)
    return record.model_copy(
        update={
            "created_at": before.created_at,
            "started_at": before.started_at or record.started_at,
            "updated_at": max(before.updated_at, record.updated_at),
            "report_path": record.report_path or before.report_path,
        }
    )


async def _profiles(source: Source, place: here.Here, options: Options, report: Report) -> None:
    counts = report.counts[What.PROFILES]
    documents = (
        await block_documents.of_type(place.client, LLM_PROFILE_TYPE) if place.client else []
    )
    there = by_name(documents)
    default = default_of(there)
    keys = _keys(source, options)
    for page in source.pages("llm_profiles"):
        for row in page:
            counts.found += 1
            name = str(row["profile_name"])[:100]
            try:
                if place.client is None:
                    raise Leave(NO_PREFECT)  # noqa: TRY301 - one way of leaving
                profile = profile_of(row, keys)
                if profile.name in there:
                    _see_that_it_is_the_same(profile, there[profile.name].data)
                    counts.already += 1
                    continue
                data = dict(profile.data)
                mended = list(profile.mended)
                if data.get("default") and default is not None:
                    data["default"] = False
                    mended.append(f"was VibeSurf's default: here {default!r} stays the default")
                if options.apply:
                    await _make_profile(place.client, profile.name, data)
            except Leave as why:
                report.left(What.PROFILES, name, str(why))
                continue
            counts.taken += 1
            if data.get("default"):
                default = profile.name
            report.mended(What.PROFILES, name, mended)
            if profile.needs is not None:
                report.left(What.PROFILES, name, profile.needs, whole=False)


def _see_that_it_is_the_same(profile: Profile, data: dict[str, object]) -> None:
    if not profile.is_like(data):
        msg = (
            "a profile of this name is here, with another model or address: it stays as it is. "
            "Rename one of them to have both"
        )
        raise Leave(msg)


async def _make_profile(client: PrefectClient, name: str, data: dict[str, object]) -> None:
    try:
        await block_documents.create(client, LLM_PROFILE_TYPE, document_name(name), data)
    except Conflict as why:
        msg = f"{why.message} It stays as it is"
        raise Leave(msg) from None


def _keys(source: Source, options: Options) -> Keys:
    # VibeSurf keeps its database in its workspace.
    folders = [source.path.parent, *([options.workspace] if options.workspace else [])]
    return machine_keys.Keys(machine_keys.ids_here(folders, options.machine_id))


async def _schedules(settings: Settings, source: Source, place: here.Here, report: Report) -> None:
    counts = report.counts[What.SCHEDULES]
    enabled = 0
    for page in source.pages("schedules"):
        for row in page:
            counts.found += 1
            flow_id = str(row["flow_id"])[:255]
            try:
                if place.client is None:
                    raise Leave(NO_PREFECT)  # noqa: TRY301 - one way of leaving
                wanted = schedule_of(row, settings.schedule_seconds)
                if await _is_there(place.client, wanted):
                    counts.already += 1
                    continue
                if place.context is not None:
                    await _make_schedule(place.context, wanted)
            except Leave as why:
                report.left(What.SCHEDULES, flow_id, str(why))
                continue
            counts.taken += 1
            enabled += wanted.body.is_enabled and wanted.body.cron_expression is not None
            report.mended(What.SCHEDULES, flow_id, wanted.mended)
            if wanted.has_history:
                report.left(What.SCHEDULES, flow_id, _HISTORY, whole=False)
    if enabled:
        report.notes.append(
            f"{enabled} schedules that are switched on are taken over as such, and VibeSurf fires "
            "them too while it runs: switch them off there."
        )


async def _is_there(client: PrefectClient, wanted: Wanted) -> bool:
    """Whether the flow has a schedule here; where it has none, whether it can get one.

    Raises:
        Leave: It cannot.
    """
    flow_id = wanted.body.flow_id
    found = await prefect_deployments.find(client, flow_id)
    if len(found) > 1:
        names = ", ".join(sorted(one.path for one in found))
        msg = f"names several deployments: {names}"
        raise Leave(msg)
    if found:
        return bool(found[0].deployment.schedules)
    if await block_documents.named(client, BACKEND_BLOCK_TYPE, BACKEND_BLOCK) is None:
        msg = (
            "names a flow of VibeSurf, and no backend is configured that could run it: save a "
            f"VibeSurf Backend block named {BACKEND_BLOCK!r} and adopt again"
        )
        raise Leave(msg)
    return False


async def _make_schedule(context: Context, wanted: Wanted) -> None:
    try:
        await rest_schedules.create(context, wanted.body)
    except InvalidInput as why:
        raise Leave(why.message) from None
    except Unavailable as why:
        msg = f"could not be made: {why.message}"
        raise Leave(msg) from None


def _others(source: Source, report: Report) -> None:
    for table, why in _OTHERS.items():
        rows = source.count(table)
        if rows:
            report.left(What.OTHERS, f"{table}: {rows} rows", why)
    for column in source.unknown:
        report.left(What.OTHERS, column, "a column that no known version of VibeSurf has")
