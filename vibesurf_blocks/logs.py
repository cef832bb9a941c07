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

_PLAIN: Final = logging.Formatter()

_task: ContextVar[str | None] = ContextVar("vibesurf_task", default=None)


@contextmanager
def about(task_id: object) -> Iterator[None]:
    """Have every line that is logged in this context name a task."""
    token = _task.set(str(task_id))
    try:
        yield
    finally:
        _task.reset(token)


class Hiding(logging.Filter):
    """Takes what is secret out of a record, before its handler shows it or sends it to Prefect.

    Attributes:
        hides: Each takes a text and returns it without secrets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hides: list[Callable[[str], str]] = [EnvironmentSecrets(os.environ).hide, redact]

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; none is left out."""
        try:
            record.msg, record.args = self._hide(record.getMessage()), None
        except Exception:  # noqa: BLE001 - arguments that do not fit: its handler says so
            return True
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = _PLAIN.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._hide(record.exc_text)
        if record.stack_info:
            record.stack_info = self._hide(record.stack_info)
        return True

    def _hide(self, text: str) -> str:
        for hide in self.hides:
            text = hide(text)
        return text


class JsonFormatter(logging.Formatter):
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
            "message": record.getMessage(),
        }
        if self._part is not None:
            entry["part"] = self._part
        task_id = (
            getattr(record, "task_id", None) or getattr(record, "flow_run_id", None) or _task.get()
        )
        if task_id is not None:
            entry["task_id"] = str(task_id)
        if record.exc_text:
            entry["error"] = record.exc_text
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
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
        form = f"%(asctime)s {part:<7} %(levelname)-7s %(message)s"
        handler.setFormatter(logging.Formatter(form))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        # Others tell of every request at INFO.
        ours = name in OURS
        logger.setLevel(settings.log_level if ours else max(logging.WARNING, _level(settings)))
        logger.propagate = False
    guard()


def configure_run(settings: Settings, task_id: str) -> None:
    """Set up the logs of the process of one run; as text they look as Prefect has them."""
    if settings.log_format == "json":
        configure(settings, "run")
        _task.set(task_id)
    guard()


def guard() -> None:
    """Have every handler that there is hide secrets, Prefect's own and its log upload included."""
    hiding = Hiding()
    for handler in _handlers():
        if not any(isinstance(one, Hiding) for one in handler.filters):
            handler.addFilter(hiding)


def hide_also(hide: Callable[[str], str]) -> None:
    """Have the logs of this process pass through a function that hides secrets."""
    for handler in _handlers():
        for one in handler.filters:
            if isinstance(one, Hiding) and hide not in one.hides:
                one.hides.append(hide)


def _handlers() -> Iterator[logging.Handler]:
    for logger in (logging.getLogger(), *list(logging.Logger.manager.loggerDict.values())):
        if isinstance(logger, logging.Logger):  # the others stand for loggers nobody asked for
            yield from logger.handlers


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
