"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES: Final = {
    "pending": "cyan",
    "running": "blue",
    "paused": "yellow",
    "completed": "green",
    "failed": "red",
    "stopped": "magenta",
}
"""Colours of the six statuses."""

_BETWEEN = 3
_EDGES = 2
_LINE = 160
_LEAST = 8


def print_json(value: object, *, lines: bool = False) -> None:
    """Print a value as JSON: indented, or in one line of a stream of them."""
    # Line by line it may be read by a program that waits for each.
    print(json.dumps(value, indent=None if lines else 2, ensure_ascii=False), flush=lines)


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, cut: bool = True
) -> None:
    """Print a table; its last column is cut to the room there is, if it may be."""
    shown = [[one if isinstance(one, Text) else Text(_shown(one)) for one in row] for row in rows]
    widths = [
        max([cell_len(header), *(row[number].cell_len for row in shown)])
        for number, header in enumerate(headers)
    ]
    console = Console()
    if cut:
        line = console.width if console.is_terminal else _LINE
        room = line - _EDGES - sum(width + _BETWEEN for width in widths[:-1])
        widths[-1] = min(widths[-1], max(room, _LEAST))
        for row in shown:
            row[-1].truncate(widths[-1], overflow="ellipsis")
    table = Table(header_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for header, width in zip(headers, widths, strict=True):
        table.add_column(header, no_wrap=True, width=width)
    for row in shown:
        table.add_row(*row)
    # Longer lines than the terminal has are its own matter: what is told stays whole.
    Console(width=sum(width + _BETWEEN for width in widths)).print(table)


def status(word: str) -> Text:
    """A status in its colour."""
    return Text(word, style=STYLES.get(word, ""))


def moment(text: str | None, zone: str | None = None, *, seconds: bool = True) -> str:
    """A time of the API for people, in a time zone or the machine's; short without seconds."""
    if text is None:
        return "–"
    local = datetime.fromisoformat(text).astimezone(ZoneInfo(zone) if zone else None)
    return f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%m-%d %H:%M}"


def _shown(value: object) -> str:
    if value is None or value == "":
        return "–"
    return " ".join(str(value).split())
