"""Breaks a working stack at random and counts what must never be: `python -m tests.chaos`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.chaos.driver.arena import arena
from tests.chaos.driver.faults import possible
from tests.chaos.driver.hooks import GUARDS
from tests.chaos.driver.plan import KILLS, OTHERS, bursts
from tests.chaos.driver.run import Run
from tests.chaos.driver.table import Outcome, lines
from tests.chaos.driver.workload import ACTIONS


def _setting(given: str) -> tuple[str, str]:
    """A setting of the stack and its value."""
    name, equals, value = given.partition("=")
    if not equals or not name.startswith("VIBESURF_"):
        msg = f"{given!r} is no setting: write it as VIBESURF_RECONCILE_SECONDS=1"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, help="end after so long at the latest")
    parser.add_argument("--database", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--only", nargs="+", choices=[*KILLS, *OTHERS], metavar="FAULT")
    parser.add_argument("--work", nargs="+", choices=list(ACTIONS), metavar="ACTION")
    parser.add_argument(
        "--without", nargs="+", choices=list(GUARDS), default=[], help="guards to remove"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        type=_setting,
        metavar="VIBESURF_…=VALUE",
        help="settings of the stack",
    )
    parser.add_argument("--out", type=Path, default=Path("chaos"), help="of .json and .md")
    parser.add_argument("--keep", type=Path, help="folder to copy logs, tables and book to")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 where anything was violated."""
    chosen = parse(arguments)
    without = ",".join(chosen.without)
    outcome = Outcome(chosen.seed, chosen.database, without)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up all the same
    with arena(chosen.database, without, settings=dict(chosen.set)) as made:
        names = [name for name in chosen.only or [*KILLS, *OTHERS] if name in possible(made)]
        left_out = set(chosen.only or [*KILLS, *OTHERS]) - set(names)
        if "fill-disk" in left_out:
            outcome.unavailable.append("fill-disk: only root can mount a small disk")
        made.start()
        run = Run(made, outcome, lambda said: print(said, flush=True), actions=chosen.work)
        try:
            plan = bursts(chosen.seed, names)
            asyncio.run(run.run(plan, chosen.kills, chosen.minutes))
        finally:
            if chosen.keep is not None:
                made.keep(chosen.keep)
    table = "\n".join(lines(outcome))
    print(table)
    chosen.out.with_suffix(".md").write_text(f"{table}\n")
    chosen.out.with_suffix(".json").write_text(
        json.dumps(outcome.as_json(), indent=2, default=str) + "\n"
    )
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
