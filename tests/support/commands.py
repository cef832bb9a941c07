"""Calls the command line: as a program, as users do, or within this process, which is quicker."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import LiveStack
from vibesurf_blocks.cli import main

_SECONDS = 90


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """What it printed on either side, with single spaces."""
        return " ".join(f"{self.out} {self.err}".split())


async def program(stack: LiveStack, *words: str, **env: str) -> Said:
    """Call the installed program `vibesurf-blocks` with these words; several may run at once."""
    command = [str(Path(sys.executable).with_name("vibesurf-blocks")), *words]

    def call() -> Said:
        done = subprocess.run(
            command,
            env={**stack.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(call)


async def command(url: str, *words: str) -> Said:
    """Call the command line here, for the API at an address; one at a time."""

    def call() -> Said:
        code = 0
        with (
            pytest.MonkeyPatch.context() as here,
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
        ):
            here.setattr(sys, "argv", ["vibesurf-blocks", *words])
            here.setenv("VIBESURF_API_URL", url)
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        return Said(code, out.getvalue(), err.getvalue())

    return await asyncio.to_thread(call)
