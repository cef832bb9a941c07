"""`vibesurf-blocks adopt`: takes over a VibeSurf database, and tells what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vibesurf_blocks.adopt.adopt import Options, adopt
from vibesurf_blocks.adopt.keys import read_id
from vibesurf_blocks.cli.output import print_json, print_table

if TYPE_CHECKING:
    from vibesurf_blocks.adopt.report import Remark, Report
    from vibesurf_blocks.settings import Settings


async def run_adopt(
    settings: Settings,
    source: str,
    *,
    apply: bool,
    workspace: Path | None,
    key_file: Path | None,
    ended: bool,
    as_json: bool,
) -> None:
    """Take over a VibeSurf database, or print what that would do.

    Raises:
        VibesurfError: It cannot be read, or what is needed does not answer.
    """
    options = Options(
        apply=apply,
        workspace=workspace,
        machine_id=read_id(key_file) if key_file is not None else None,
        ended=ended,
    )
    with Progress(
        TextColumn("tasks"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        disable=as_json or not Console(stderr=True).is_terminal,
        transient=True,
    ) as progress:
        bar = progress.add_task("")
        report = await adopt(
            settings,
            source,
            options,
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)


def _show(report: Report) -> None:
    print(f"{report.source}: a VibeSurf database, version {report.version}\n")
    print_table(
        (
            "",
            "found",
            "taken" if report.applied else "to take",
            "completed",
            "here already",
            "left",
        ),
        [
            (what, one.found, one.taken, one.changed, one.already, one.left)
            for what, one in report.counts.items()
        ],
    )
    _remarks("Mended", report.all_mended)
    _remarks("Left", report.all_left)
    for note in report.notes:
        print(f"\nNote: {note}")
    print(f"\n{_end(report)}")


def _remarks(title: str, remarks: Sequence[Remark]) -> None:
    if not remarks:
        return
    print(f"\n{title}")
    for one in remarks:
        more = ", …" if one.count > len(one.examples) else ""
        print(f"  {one.what} ({one.count}): {one.why}\n    {', '.join(one.examples)}{more}")


def _end(report: Report) -> str:
    if not report.news:
        return "There is nothing to take over that is not here already; nothing was changed."
    if report.applied:
        return "Taken over. A second time changes nothing."
    return "This was a dry run: nothing was written. Say --apply to take it over."
