"""Runs tests, two files at a time; what fails beside other work is run once more, alone.

Arguments are pytest's: none for the suite, `-m slow` for the tests that it leaves out.

The tests drive real processes against deadlines, so a machine that stands still for some seconds
fails one now and then. Such a test is named at the end, however its second run ends: it is to be
looked into. Failures in more than `FEW` files are no accident and are not run again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FEW = 8
_FAILED = Path(".pytest_cache/v/cache/lastfailed")
_TESTS_FAILED = 1  # pytest's exit code; any other says that the run itself broke


def main() -> int:
    """Run the tests; pytest's exit code."""
    which = sys.argv[1:]
    _FAILED.unlink(missing_ok=True)
    code = _pytest("-n", "2", "--dist", "loadfile", *which)
    if code != _TESTS_FAILED or not _FAILED.exists():
        return code
    failed = list(json.loads(_FAILED.read_text()))
    if not 0 < len({test.partition("::")[0] for test in failed}) <= FEW:
        return code
    _say("These failed beside other tests and are run once more, alone:", failed)
    code = _pytest("--last-failed", "--last-failed-no-failures", "none", *which)
    _say("FLAKY, look into them:" if code == 0 else "Failed twice or more:", failed)
    return code


def _pytest(*more: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *more], check=False).returncode


def _say(what: str, tests: list[str]) -> None:
    print(what, *(f"  {test}" for test in tests), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
