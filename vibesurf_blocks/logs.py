"""Logs of the parts: one line each, as text or as JSON, on standard error, without secrets.

As text the project's own lines are set up here and the others follow Prefect's settings. As JSON
every line of a part is one object, whoever logs it: Prefect, uvicorn, a library, Python's warnings,
and an error that ends the process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from vibesurf_blocks.redaction import redact
from vibesurf_blocks.secrecy import EnvironmentSecrets
from vibesurf_blocks.settings import Settings

OURS: Final = ("vibesurf_blocks", "deployments")
"""The loggers of this project."""

LOGGERS: Final = (*OURS, "uvicorn", "httpx")
"""Loggers whose lines are set up here."""

_task: ContextVar[str | None] = ContextVar("vibesurf_task", default=None)


@contextmanager
def about(task_id: object) -> Iterator[None]:
    """Have every line that is logged in this context name a task."""
    token = _task.set(str(task_id))
    try:
        yield
    finally:
        _task.reset(token)


class _Hiding(logging.Formatter):
    """Leaves out what is secret."""

    def __init__(self, fmt: str | None = None) -> None:
        super().__init__(fmt)
        self.hides: list[Callable[[str], str]] = [
            EnvironmentSecrets(os.environ).hide,
            redact,
        ]

    def hide(self, text: str) -> str:
        """The text without secrets."""
        for hide in self.hides:
            text = hide(text)
        return text


class TextFormatter(_Hiding):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return self.hide(super().format(record))


class JsonFormatter(_Hiding):
    """One JSON object a line: time, level, logger, message; part, task id, error where known."""

    def __init__(self, part: str | None = None) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        entry: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": self.hide(record.getMessage()),
        }
        if self._part is not None:
            entry["part"] = self._part
        task_id = (
            getattr(record, "task_id", None) or getattr(record, "flow_run_id", None) or _task.get()
        )
        if task_id is not None:
            entry["task_id"] = str(task_id)
        if record.exc_info and record.exc_info[0] is not None:
            entry["error"] = self.hide(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = self.hide(self.formatStack(record.stack_info))
        return json.dumps(entry, ensure_ascii=False)


def _level(settings: Settings) -> int:
    return logging.getLevelNamesMapping()[settings.log_level]


def configure(settings: Settings, part: str) -> None:
    """Set up the logs of one part of the stack, named in each line.

    As Prefect sets up logging when it is imported, this comes after.
    """
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter(part))
        _everything(handler)
    else:
        handler.setFormatter(TextFormatter(f"%(asctime)s {part:<7} %(levelname)-7s %(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        # Others tell of every request at INFO.
        ours = name in OURS
        logger.setLevel(settings.log_level if ours else max(logging.WARNING, _level(settings)))
        logger.propagate = False


def configure_run(settings: Settings, task_id: str) -> None:
    """Set up the logs of the process of one run; as text they stay as Prefect has them."""
    if settings.log_format == "json":
        configure(settings, "run")
        _task.set(task_id)


def hide_also(hide: Callable[[str], str]) -> None:
    """Have the logs of this process pass through a function that hides secrets."""
    for logger in (logging.getLogger(), *map(logging.getLogger, LOGGERS)):
        for handler in logger.handlers:
            formatter = handler.formatter
            if isinstance(formatter, _Hiding) and hide not in formatter.hides:
                formatter.hides.append(hide)


def of_uvicorn(settings: Settings) -> dict[str, Any] | None:
    """What uvicorn is to set up by itself: nothing where everything is JSON."""
    from uvicorn.config import LOGGING_CONFIG  # noqa: PLC0415 - servers alone have it imported

    return None if settings.log_format == "json" else LOGGING_CONFIG


def _everything(handler: logging.Handler) -> None:
    """Send what any logger shows on the console through this handler, and through no other."""
    root = logging.getLogger()
    root.handlers = [handler]
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        kept = [one for one in logger.handlers if not isinstance(one, logging.StreamHandler)]
        shown = len(kept) < len(logger.handlers)
        logger.handlers = kept
        if shown and not logger.propagate:
            logger.addHandler(handler)
    logging.captureWarnings(True)
    sys.excepthook = _excepthook


def _excepthook(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("vibesurf_blocks").critical(
        "The process ends by an error.", exc_info=(kind, error, trace)
    )
