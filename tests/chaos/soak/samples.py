"""What a stack uses at one moment: memory, files, processes, connections, bytes on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
from pydantic import BaseModel

from tests.support.stack import LiveStack

MEASURES = {
    "memory": "memory (PSS), MB",
    "files": "open files",
    "processes": "processes",
    "connections": "connections",
    "temporary": "temporary files",
    "database": "database on disk, MB",
}
"""The fields of a sample that are drawn, with their names and units."""


class Sample(BaseModel):
    """One look at a stack.

    Attributes:
        seconds: Since the first one.
        runs: Tasks that had ended.
        memory: Proportional set size of the parts, of agents and of their browsers, MB.
        parts: The same by the name of the process.
        files: Open files of the parts, PostgreSQL's left out: it opens them as it likes.
        processes: Processes of the parts.
        connections: TCP connections of the parts, and PostgreSQL's back ends.
        temporary: Files and folders in the stack's temporary folder.
        database: Bytes of PostgreSQL's folder without its log of writes, and of the tables, MB.
        rows: Rows of the table of tasks.
        logs: Bytes of the log, MB.
    """

    seconds: float
    runs: int
    memory: float
    parts: dict[str, float]
    files: int
    processes: int
    connections: int
    temporary: int
    database: float
    rows: int
    logs: float


class Sampler:
    """Looks at one stack.

    What an agent and its browser use comes and goes with each run. So memory, files, processes and
    connections are those of the parts that stay; the others are listed in `parts` alone.
    """

    def __init__(self, stack: LiveStack, temporary: Path) -> None:
        self._stack = stack
        self._temporary = temporary
        self._begun = monotonic()

    def take(self, runs: int) -> Sample:
        """Look once."""
        sums = {"memory": 0.0, "files": 0.0, "processes": 0.0, "connections": 0.0}
        parts: dict[str, float] = {}
        seen: set[int] = set()
        for process in self._stack.processes():
            family = [process]
            with suppress(psutil.Error):
                family += process.children(recursive=True)
            for one in family:
                if one.pid in seen:
                    continue
                seen.add(one.pid)
                with suppress(psutil.Error):
                    self._add(one, sums, parts)
        home = self._stack.home
        return Sample(
            seconds=monotonic() - self._begun,
            runs=runs,
            memory=sums["memory"],
            parts={name: round(value, 1) for name, value in sorted(parts.items())},
            files=int(sums["files"]),
            processes=int(sums["processes"]),
            connections=int(sums["connections"]),
            temporary=sum(1 for _ in self._temporary.rglob("*")),
            database=_size(home / "postgres", without="pg_wal") + _tables_size(home),
            rows=_rows(home / "vibesurf.db"),
            logs=self._stack.log.stat().st_size / 1e6,
        )

    def _add(self, one: psutil.Process, sums: dict[str, float], parts: dict[str, float]) -> None:
        name = one.name()
        memory = one.memory_full_info().pss / 1e6
        command = " ".join(one.cmdline()[:4])
        if "chrom" in name or "browser.keeper" in command or "browser/keeper" in command:
            name = "browser"
        parts[name] = parts.get(name, 0.0) + memory
        if name == "browser" or name.startswith("vibesurf:run"):
            return
        sums["memory"] += memory
        sums["processes"] += 1
        if name == "postgres":
            sums["connections"] += 1
        else:
            sums["files"] += one.num_fds()
            sums["connections"] += len(one.net_connections("tcp"))


def _size(folder: Path, without: str = "") -> float:
    return sum(_bytes(path) for path in folder.rglob("*") if without not in path.parts) / 1e6


def _tables_size(home: Path) -> float:
    return sum(_bytes(path) for path in home.glob("vibesurf.db*")) / 1e6


def _bytes(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0


def _rows(tables: Path) -> int:
    with closing(sqlite3.connect(f"file:{tables}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM tasks").fetchone()[0])


def read(path: Path) -> list[Sample]:
    """The samples of a file that `append` has written."""
    return [Sample.model_validate_json(line) for line in path.read_text().splitlines()]


def append(path: Path, sample: Sample) -> None:
    """Add a sample to a file of one line for each."""
    with path.open("a") as file:
        file.write(sample.model_dump_json() + "\n")


class Slope(BaseModel):
    """How a measure went: a straight line through its samples, and how far they lie from it.

    Attributes:
        first: Mean of the first tenth.
        last: Mean of the last tenth.
        hourly: Growth in an hour by the line.
        error: Standard error of that, as if the samples were independent of each other.
        each: Growth for each thousand runs.
    """

    first: float
    last: float
    hourly: float
    error: float
    each: float


def slope(samples: Iterable[Sample], field: str) -> Slope:
    """The line of least squares through one measure.

    Raises:
        ValueError: There are fewer than ten samples.
    """
    points = [(one.seconds / 3600, float(getattr(one, field)), one.runs) for one in samples]
    if len(points) < 10:
        msg = f"{len(points)} samples are too few for a slope; ten are the least."
        raise ValueError(msg)
    times, values = [one[0] for one in points], [one[1] for one in points]
    count = len(points)
    middle, mean = sum(times) / count, sum(values) / count
    spread = sum((time - middle) ** 2 for time in times)
    hourly = sum((t - middle) * (v - mean) for t, v in zip(times, values, strict=True)) / spread
    rest = sum((v - mean - hourly * (t - middle)) ** 2 for t, v in zip(times, values, strict=True))
    tenth = max(1, count // 10)
    ran = points[-1][2] - points[0][2]
    return Slope(
        first=sum(values[:tenth]) / tenth,
        last=sum(values[-tenth:]) / tenth,
        hourly=hourly,
        error=(rest / (count - 2) / spread) ** 0.5,
        each=hourly * (times[-1] - times[0]) / ran * 1000 if ran else 0.0,
    )


def as_json(samples: list[Sample], fields: Iterable[str]) -> dict[str, Any]:
    """The slopes of several measures."""
    return {field: slope(samples, field).model_dump() for field in fields}
