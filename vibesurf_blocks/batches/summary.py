"""A batch for people: its table while it runs, and its summary when it has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from uuid import UUID

from vibesurf_blocks.parents.cells import cell, report_link, run_link, seconds, short
from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from vibesurf_blocks.batches.progress import Entry, Progress

_SUMMARY_LIMIT: Final = 1_000
"""Items that a summary lists at the most; the table has them all."""


def table(progress: Progress, reports: Mapping[UUID, str]) -> str:
    """All items as the data of a table artifact."""
    return json.dumps(
        [
            {
                "item": entry.name,
                "status": entry.status,
                "task": short(entry.item.task_description),
                "tries": entry.runs,
                "seconds": seconds(entry.last),
                "task_id": str(entry.last.run.id) if entry.last else None,
                "report": _report_path(entry, reports),
                "error": _error(entry),
            }
            for entry in progress.entries.values()
        ],
        ensure_ascii=False,
    )


def markdown(progress: Progress, reports: Mapping[UUID, str], title: str) -> str:
    """What came of the batch, with links to runs and reports."""
    counts = progress.counts
    told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    lines = [
        f"# {cell(title)}",
        "",
        f"**{counts[Status.COMPLETED]} of {len(progress.entries)} completed** ({told}).",
        "",
        "| item | status | task | report |",
        "| --- | --- | --- | --- |",
    ]
    # What needs looking at comes first.
    entries = sorted(progress.entries.values(), key=lambda one: one.status is Status.COMPLETED)
    for entry in entries[:_SUMMARY_LIMIT]:
        error = _error(entry)
        said = f"{entry.status}: {cell(short(error))}" if error else entry.status
        task = cell(short(entry.item.task_description))
        link = run_link(entry.name, entry.last)
        report = report_link(_report_path(entry, reports))
        lines.append(f"| {link} | {said} | {task} | {report} |")
    if len(entries) > _SUMMARY_LIMIT:
        lines += ["", f"… and {len(entries) - _SUMMARY_LIMIT:,} more, in the table."]
    return "\n".join(lines)


def _report_path(entry: Entry, reports: Mapping[UUID, str]) -> str | None:
    return reports.get(entry.last.run.id) if entry.last else None


def _error(entry: Entry) -> str | None:
    state = entry.last.run.state if entry.last else None
    told = entry.status in {Status.FAILED, Status.STOPPED} and state is not None
    return state.message if told and state is not None else None
