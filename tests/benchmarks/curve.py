"""What a run, a row and a status cost after ten, a hundred, a thousand, ten thousand runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.fills import fill_runs, fill_tasks
from tests.benchmarks.load import load
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.stack import Database, Stack, new_stack, use_of
from tests.benchmarks.submits import submits_on
from tests.support.eventually import eventually

REAL: Final = (10, 100, 1_000)
COPIED: Final = (10_000, 100_000)
"""Runs that did not run: copies of one that did, in Prefect's database and in the tables."""

SAMPLE: Final = 15
WORST: Final = 1.2
PICTURE: Final = "VIBESURF_BENCH_PICTURE"
"""Environment variable: the file the picture is written to, the database added to its name."""

_READY_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured once so many runs had ended.

    Attributes:
        runs: How many had.
        running: Seconds from submit to Running, p50.
        row: Seconds from a state to its row, p50.
        status: Milliseconds of `GET /tasks/status` with one client, p50.
        memory: Proportional set size of the stack without PostgreSQL's cache, MB.
    """

    runs: int
    running: float
    row: float
    status: float
    memory: float


LINES: Final[Sequence[tuple[str, str, Callable[[Point], float]]]] = (
    ("submit → Running, p50", "s", lambda point: point.running),
    ("state → row, p50", "s", lambda point: point.row),
    ("GET /tasks/status, p50", "ms", lambda point: point.status),
    ("memory of the stack", "MB", lambda point: point.memory),
)


async def _measure(bench: Bench, stack: Stack, runs: int) -> Point:
    async def ready() -> bool:
        return (await stack.http.get("/ready")).status_code == httpx.codes.OK

    # What has just been filled in keeps mirror and database busy for a while.
    await eventually(ready, timeout=_READY_SECONDS, pause=0.5)
    taken = await submits_on(stack, bench.site.page, SAMPLE)
    status = await load(stack.port, "/tasks/status", clients=1, seconds=2)
    own = [one for one in stack.processes() if one.name() != "postgres"]
    return Point(
        runs,
        quantiles(taken.to_running, 50)["p50"],
        quantiles(taken.to_row, 50)["p50"],
        status.p50,
        use_of(own).memory,
    )


async def curve(bench: Bench) -> list[Row]:
    """Each line: after the most runs, beside after the fewest."""
    real, copied = (REAL[:2], (REAL[2], COPIED[0])) if bench.quick else (REAL, COPIED)
    points: list[Point] = []
    async with new_stack(bench.database) as stack:
        await stack.start()
        last = await stack.submit(f"Read {bench.site.page}")
        await stack.ended(last)
        done = 1
        for runs in real:
            while done < runs - SAMPLE:
                last = await stack.submit(f"Read {bench.site.page}")
                await stack.ended(last)
                done += 1
            points.append(await _measure(bench, stack, runs))
            done += SAMPLE
        for runs in copied:
            await fill_runs(stack, last, runs - points[-1].runs)
            await fill_tasks(stack.tables_url, runs - points[-1].runs, first=points[-1].runs + 1)
            points.append(await _measure(bench, stack, runs))
    if os.environ.get(PICTURE):
        path = picture(Path(os.environ[PICTURE]), bench.database)
        draw(points, len(real), path, bench.name("Cost of growth"))
    first, most = points[0], points[-1]
    return [
        Row(
            bench.name(f"{name}, after {most.runs:,} runs"),
            unit,
            {"": value(most)},
            {"": WORST * value(first)},
            {"": value(first)},
            note=f"the baseline is after {first.runs}; "
            + ", ".join(f"{point.runs:,}: {value(point):.3g}" for point in points)
            + f"; beyond {real[-1]:,} they are copies of one that ran.",
        )
        for name, unit, value in LINES
    ]


def picture(path: Path, database: Database) -> Path:
    """Where the picture of one database goes: `growth.svg` becomes `growth-postgres.svg`."""
    return path.with_stem(f"{path.stem}-{database}")


def draw(points: Sequence[Point], real: int, path: Path, title: str) -> None:
    """Draw one small plot for each line into a file; its suffix says in which format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    figure.suptitle(title)
    runs = [point.runs for point in points]
    for axes, (name, unit, value) in zip(figure.subplots(2, 2).flat, LINES, strict=True):
        values = [value(point) for point in points]
        axes.plot(runs, values, color="#1f6feb", linewidth=1.2)
        axes.plot(runs[:real], values[:real], "o", color="#1f6feb", label="ran")
        axes.plot(runs[real:], values[real:], "o", mfc="white", mec="#1f6feb", label="copied")
        axes.set(xscale="log", title=name, ylabel=unit, xlabel="runs", ylim=(0, 1.5 * max(values)))
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


CURVE = Line("curve", curve)
