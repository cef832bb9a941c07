"""Pieces of tables and summaries: text that stays within its cell, and links."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from prefect.utilities.urls import url_for

if TYPE_CHECKING:
    from vibesurf_blocks.prefect_api.children import Child

_SHOWN: Final = 120


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def cell(text: str) -> str:
    """Text for a cell of a markdown table, whatever markup it holds."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")


def run_link(name: str, child: Child | None) -> str:
    """A name that leads to the run in the Prefect UI."""
    url = url_for(child.run) if child is not None else None
    return f"[{cell(name)}]({url})" if url else cell(name)


def report_link(path: str | None) -> str:
    """A link to a report on the host that wrote it."""
    return f"[report]({Path(path).as_uri()})" if path else "–"


def seconds(child: Child | None) -> float | None:
    """Seconds that a run which has ended took."""
    if child is None or not child.ended:
        return None
    return round(child.run.total_run_time.total_seconds(), 1)
