"""An hour of work with a look at the stack every few seconds: `python -m tests.chaos.soak`."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic

from tests.chaos.soak.picture import draw
from tests.chaos.soak.samples import MEASURES, Sample, Sampler, append, as_json, read
from tests.chaos.soak.work import Work
from tests.support.stack import LiveStack

WARM_SHARE = 1 / 6
"""Caches fill and the first browsers start in this part, which slopes leave out."""


async def soak(stack: LiveStack, temporary: Path, minutes: float, every: float, out: Path) -> Work:
    """Work and look, until the time is over or the work fails."""
    file = out.with_suffix(".jsonl")
    file.unlink(missing_ok=True)
    async with Work(stack) as work:
        sampler = Sampler(stack, temporary)

        async def look() -> None:
            while True:
                sample = await asyncio.to_thread(sampler.take, work.ended.total())
                append(file, sample)
                print(
                    f"{sample.seconds / 60:5.1f} min {sample.runs:5d} runs {sample.memory:6.0f} MB"
                    f" {sample.files:4d} files {sample.processes:3d} processes"
                    f" {sample.temporary:3d} temporary {sample.database:6.1f} MB on disk",
                    flush=True,
                )
                await asyncio.sleep(every)

        looking = asyncio.create_task(look())
        try:
            await work.until(monotonic() + minutes * 60)
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
    return work


def report(samples: list[Sample], work: Work, out: Path) -> None:
    """Write slopes and picture, and print them."""
    minutes = samples[-1].seconds / 60
    steady = [one for one in samples if one.seconds >= samples[-1].seconds * WARM_SHARE]
    slopes = as_json(steady, (*MEASURES, "logs"))
    told = {
        "minutes": round(minutes, 1),
        "runs": samples[-1].runs,
        "rows": samples[-1].rows,
        "ended": dict(work.ended),
        "refused": work.refused,
        "wrong": work.wrong,
        "samples": len(samples),
        "slopes_from_minute": round(steady[0].seconds / 60, 1),
        "slopes": slopes,
        "parts_first": steady[0].parts,
        "parts_last": steady[-1].parts,
    }
    out.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")
    draw(samples, out.with_suffix(".svg"), f"{minutes:.0f} minutes, {samples[-1].rows} tasks")
    for field, line in slopes.items():
        print(
            f"{field:12} {line['first']:8.1f} -> {line['last']:8.1f}"
            f"  {line['hourly']:+8.2f} ± {line['error']:.2f} an hour"
            f"  {line['each']:+8.2f} a thousand runs"
        )


def main() -> None:
    """Run it; the exit code is 1 where a task went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="of .jsonl, .json and .svg")
    chosen = parser.parse_args()
    # PostgreSQL's own user passes through.
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    folder.chmod(0o755)
    temporary = folder / "tmp"
    temporary.mkdir()
    stack = LiveStack(folder, TMPDIR=str(temporary), VIBESURF_BROWSER_IDLE_SECONDS="60")
    try:
        stack.start()
        work = asyncio.run(
            soak(stack, temporary, chosen.minutes, chosen.every, chosen.out.absolute())
        )
        print(f"ended: {dict(work.ended)}; the stack ended within {stack.stop():.1f} s")
    finally:
        stack.kill()
        shutil.rmtree(folder, ignore_errors=True)
    report(read(chosen.out.with_suffix(".jsonl")), work, chosen.out)
    sys.exit(1 if work.wrong else 0)


if __name__ == "__main__":
    main()
