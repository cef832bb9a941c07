"""Logs are one line each, as text or as JSON, name the task they are about, and hold no secret."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime

import pytest

from vibesurf_blocks import logs
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import MASK

OTHERS = ("", "prefect.flow_runs", "uvicorn", "some.library", "py.warnings")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    names = [*logs.LOGGERS, *OTHERS, *logging.Logger.manager.loggerDict]
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, list(one.handlers), one.level, one.propagate) for one in loggers]
    yield
    logging.captureWarnings(False)
    for one, handlers, level, propagate in before:
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json"), "api")
    logger = logging.getLogger("vibesurf_blocks.some.part")
    logger.info("One thing\nand %s", "another", extra={"task_id": "t-1"})
    logger.debug("Not asked for")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("It failed")
    first, second = lines(capsys)
    assert datetime.fromisoformat(first.pop("time")).utcoffset() is not None
    assert first == {
        "level": "INFO",
        "logger": "vibesurf_blocks.some.part",
        "message": "One thing\nand another",
        "part": "api",
        "task_id": "t-1",
    }
    assert "ValueError: broken" in second["error"]


def test_everything_that_is_logged_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    server = logging.getLogger("uvicorn")
    server.handlers, server.propagate = [logging.StreamHandler(sys.stderr)], False
    logs.configure(Settings(log_format="json"), "api")
    logging.getLogger("some.library").warning("From afar")
    server.warning("From the server")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Old ways", stacklevel=1)
    try:
        raise ValueError("at last")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    said = lines(capsys)
    assert [one["logger"] for one in said] == [
        "some.library",
        "uvicorn",
        "py.warnings",
        "vibesurf_blocks",
    ]
    assert "ValueError: at last" in said[-1]["error"]
    assert logs.of_uvicorn(Settings(log_format="json")) is None
    assert logs.of_uvicorn(Settings()) is not None


def test_lines_name_the_task_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json"), "worker")
    with logs.about("t-2"):
        logging.getLogger("vibesurf_blocks").warning("Within")
    logging.getLogger("vibesurf_blocks").warning("Outside")
    within, outside = lines(capsys)
    assert within["task_id"] == "t-2"
    assert "task_id" not in outside


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_is_logged(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "from-the-environment")
    logs.configure(Settings(log_format=form), "mirror")
    logs.hide_also(lambda text: text.replace("of-the-run", MASK))
    logger = logging.getLogger("vibesurf_blocks")
    logger.warning("%s and %s", "from-the-environment", "of-the-run")
    try:
        raise ValueError("postgresql://me:hidden@host/db does not answer")
    except ValueError:
        logger.exception("Broken")
    said = capsys.readouterr().err
    for secret in ("from-the-environment", "of-the-run", "hidden"):
        assert secret not in said
    assert f"://{MASK}@host/db" in said


def test_what_prefect_itself_shows_or_uploads_holds_no_secret() -> None:
    """Its handlers stand before ours are made; one of them sends a run's log to the server."""
    shown = io.StringIO()
    handler, logger = logging.StreamHandler(shown), logging.getLogger("prefect.flow_runs")
    logger.addHandler(handler)
    logs.configure_run(Settings(), "t-3")
    logs.hide_also(lambda text: text.replace("of-the-run", MASK))
    try:
        raise ValueError("https://me:hidden@host/ said no to of-the-run")
    except ValueError:
        logger.exception("Step %d failed", 3)
    said = shown.getvalue()
    assert "Step 3 failed" in said
    assert f"https://{MASK}@host/ said no to {MASK}" in said


def test_text_names_the_part(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_level="WARNING"), "mirror")
    logger = logging.getLogger("vibesurf_blocks.mirror")
    logger.info("Unimportant")
    logger.warning("Look here")
    (line,) = capsys.readouterr().err.splitlines()
    assert "mirror" in line
    assert line.endswith("WARNING Look here")


def test_configuring_twice_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logs.configure(Settings(), "worker")
    logging.getLogger("vibesurf_blocks").warning("Once")
    assert capsys.readouterr().err.count("Once") == 1
