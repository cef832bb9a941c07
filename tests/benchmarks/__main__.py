"""Measure the project's speed and print it beside its targets and baselines: `make bench`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.benchmarks import site
from tests.benchmarks.bench import open_bench
from tests.benchmarks.lines import LINES
from tests.benchmarks.rows import Row, markdown, show, write_json
from tests.benchmarks.stack import Database


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = [line.name for line in LINES]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="fewer runs, in a few minutes")
    parser.add_argument("--runs", type=int, help="runs of each line that counts runs")
    parser.add_argument(
        "--database",
        choices=("postgres", "sqlite", "both"),
        default="both",
        help="database of the Prefect server",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to a file")
    return parser.parse_args()


async def measure(arguments: argparse.Namespace, told: Console) -> list[Row]:
    """Take the chosen measurements, one after another; a line that breaks does not end the rest."""
    chosen = [line for line in LINES if not arguments.only or line.name in arguments.only]
    databases: tuple[Database, ...] = (
        ("postgres", "sqlite") if arguments.database == "both" else (arguments.database,)
    )
    rows: list[Row] = []
    async with site.running() as pages:
        for number, database in enumerate(databases):
            async with open_bench(
                pages, database, quick=arguments.quick, runs=arguments.runs
            ) as bench:
                for line in chosen:
                    if number and not line.each_database:
                        continue
                    told.print(f"[dim]… {line.name}, {database}[/]")
                    begun = time.perf_counter()
                    try:
                        found = await line.measure(bench)
                    except Exception:  # noqa: BLE001 - told at once, and by the exit code
                        told.print_exception(show_locals=False)
                        rows.append(Row(bench.name(line.name), "s", {"broken": 1}, {"broken": 0}))
                        continue
                    rows += found
                    for row in found:
                        told.print(f"  {' | '.join(row.cells())}", highlight=False)
                    told.print(f"[dim]  took {time.perf_counter() - begun:.0f} s[/]")
    return rows


def main() -> int:
    """Measure and print; 0 where every target is reached."""
    arguments = _arguments()
    told = Console(stderr=True)
    rows = asyncio.run(measure(arguments, told))
    if arguments.json is not None:
        write_json(rows, arguments.json)
    if arguments.markdown:
        print(markdown(rows))
    else:
        show(rows, Console())
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
