"""A workflow for people: its table while it runs, and its summary when it has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vibesurf_blocks.parents.cells import cell, report_link, run_link, seconds, short
from vibesurf_blocks.prefect_api.states import status_of

if TYPE_CHECKING:
    from vibesurf_blocks.workflows.progress import Progress


def table(progress: Progress) -> str:
    """All steps as the data of a table artifact."""
    rows = []
    for step in progress.workflow.steps:
        how = progress.ended.get(step.name)
        child = how.child if how is not None else progress.active.get(step.name)
        rows.append(
            {
                "step": step.name,
                "status": _status(progress, step.name),
                "needs": ", ".join(step.after),
                "tries": progress.tries.get(step.name, 0),
                "seconds": seconds(child),
                "task_id": str(child.run.id) if child else None,
                "report": how.report if how is not None else None,
                "why": how.why if how is not None else None,
            }
        )
    return json.dumps(rows, ensure_ascii=False)


def markdown(progress: Progress, title: str) -> str:
    """What came of the workflow, with links to runs and reports."""
    lines = [
        f"# {cell(title)}",
        "",
        "| step | status | why | report |",
        "| --- | --- | --- | --- |",
    ]
    for step in progress.workflow.steps:
        how = progress.ended.get(step.name)
        link = run_link(step.name, how.child if how is not None else None)
        why = cell(short(how.why)) if how is not None else ""
        report = report_link(how.report if how is not None else None)
        lines.append(f"| {link} | {_status(progress, step.name)} | {why} | {report} |")
    return "\n".join(lines)


def _status(progress: Progress, name: str) -> str:
    if name in progress.ended:
        return progress.ended[name].outcome.value
    child = progress.active.get(name)
    return status_of(child.run.state).value if child is not None else "pending"
