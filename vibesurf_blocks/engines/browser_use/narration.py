"""What browser-use complains of, in the log of the run and without its secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.engines.reader.text import one_line

if TYPE_CHECKING:
    Log = logging.Logger | logging.LoggerAdapter[Any]

_LIBRARIES = ("browser_use", "mcp")
# These draw their inside over many lines, of what the others then say in one.
_SILENT = ("bubus", "cdp_use")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = 1_000


def run_log(task_id: str) -> Log:
    """The run's log in Prefect, or outside of a run a log that carries the task id."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.LoggerAdapter(logging.getLogger(__name__), {"task_id": task_id})


@contextmanager
def narrated(log: Log, secrets: Secrets) -> Iterator[None]:
    """Put the libraries' warnings into a log for as long as the block runs; nothing else of theirs.

    At lower levels they log what pages and models say.
    """
    handler = _Narrator(log, secrets)
    loggers = [logging.getLogger(name) for name in (*_LIBRARIES, *_SILENT)]
    before = [(one.level, one.propagate) for one in loggers]
    for one in loggers:
        told = one.name in _LIBRARIES
        one.setLevel(logging.WARNING if told else logging.CRITICAL + 1)
        one.propagate = False
        if told:
            one.addHandler(handler)
    try:
        yield
    finally:
        for one, (level, propagate) in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate


class _Narrator(logging.Handler):
    def __init__(self, log: Log, secrets: Secrets) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on, in plain text. What they call an error is one for the agent to mend."""
        said = self._secrets.hide(_COLOUR.sub("", record.getMessage()))
        self._log.warning("%s", one_line(said, _LINE))
