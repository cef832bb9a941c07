"""One row of the speed table, and the table in three forms."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

HEADINGS = ("what", "baseline", "target", "measured", "ratio", "")


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one thing, in one unit.

    Attributes:
        what: What it is, as in the design's table.
        unit: Unit of every number.
        measured: Values by name: `p50`, `p99`, `first start`.
        target: Limits by the same names; values without one are told, not judged.
        baseline: The same measured of something else in the same run.
        recorded: A baseline measured at another time, in words.
        at_least: Names of values for which more is better.
        note: What one needs to know to read the numbers.
    """

    what: str
    unit: str
    measured: Mapping[str, float]
    target: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    recorded: str = ""
    at_least: frozenset[str] = frozenset()
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether every target is reached."""
        return all(
            self.measured[name] >= limit if name in self.at_least else self.measured[name] <= limit
            for name, limit in self.target.items()
        )

    @property
    def ratios(self) -> dict[str, float]:
        """Measured by baseline, for the names that both have."""
        return {
            name: self.measured[name] / value
            for name, value in self.baseline.items()
            if value and name in self.measured
        }

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `HEADINGS`."""
        sign = {name: ">=" if name in self.at_least else "<=" for name in self.target}
        limits = [
            f"{sign[name]} {_number(value)} {name}".rstrip() for name, value in self.target.items()
        ]
        verdict = ("ok" if self.ok else "missed") if self.target else "–"
        return (
            f"{self.what} ({self.unit})",
            _values(self.baseline) or (f"recorded: {self.recorded}" if self.recorded else "–"),
            ", ".join(limits) or "–",
            _values(self.measured),
            ", ".join(f"{_number(value)} ×" for value in self.ratios.values()) or "–",
            verdict,
        )


def quantiles(values: Sequence[float], *per_cent: int) -> dict[str, float]:
    """`{"p50": …}` of some values, by the nearest rank."""
    ordered = sorted(values)
    last = len(ordered) - 1
    named: dict[str, float] = {}
    for one in per_cent:
        rank = -(-one * len(ordered) // 100) - 1
        named[f"p{one}"] = statistics.median(ordered) if one == 50 else ordered[min(last, rank)]
    return named


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table for people."""
    table = Table(title=_machine())
    for heading in HEADINGS:
        table.add_column(heading)
    for row in rows:
        style = None if row.ok else "bold red"
        table.add_row(*row.cells(), style=style)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"[dim]{row.what}: {row.note}[/]", highlight=False)


def markdown(rows: Sequence[Row]) -> str:
    """The table for documents."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([_machine(), "", *lines, *([""] if notes else []), *notes])


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Keep the numbers for machines."""
    told = [
        {**asdict(row), "at_least": sorted(row.at_least), "ratio": row.ratios, "ok": row.ok}
        for row in rows
    ]
    content = {"at": datetime.now(UTC).isoformat(), "machine": _machine(), "rows": told}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"Prefect {version('prefect')}"
    )


def _values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_number(value)}".lstrip() for name, value in values.items())


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".") or "0"
