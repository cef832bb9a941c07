"""No credential reaches a log, whoever put it into the line."""

from __future__ import annotations

import json
import logging

import httpx
import pytest

from vibesurf_blocks import logs
from vibesurf_blocks.redaction import redact
from vibesurf_blocks.settings import Settings

SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    "line",
    [
        f"GET http://alice:{SECRET}@example.org/x failed",
        f"cannot connect to postgresql+asyncpg://app:{SECRET}@db:5432/tables",
        f"mysql://root:{SECRET}@10.0.0.1/x and redis://:{SECRET}@cache:6379/0",
        f"https://example.org/?api_key={SECRET}&page=2",
        f"https://example.org/cb?access_token={SECRET}",
        f"headers: {{'Authorization': 'Bearer {SECRET}', 'accept': '*/*'}}",
        f"authorization: Basic {SECRET}==",
        f"{{'x-api-key': '{SECRET}'}}",
        f'{{"password": "{SECRET}", "user": "alice"}}',
        f"OPENAI_API_KEY={SECRET}",
        f"client_secret: {SECRET}",
        f"the key sk-{SECRET} was refused",
        f"VIBESURF_API_TOKEN={SECRET} is set",
    ],
)
def test_a_credential_is_masked(line: str) -> None:
    shown = redact(line)
    assert SECRET not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "line",
    [
        "Mail alice@example.org about http://example.org/a@b",
        "No password is set; the token of VIBESURF_API_TOKEN is missing",
        "Put a valid key into the block.",
        "api_key=None, token: null",
        "Task 5fe8d52f-c05b-4aa2-b96e-b71d15ffede8 completed in 3 steps",
        "The keyboard was used; tokens: 12 + 30",
    ],
)
def test_plain_words_stay_as_they_are(line: str) -> None:
    assert redact(line) == line


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_line_of_a_log_goes_through_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    loggers = [logging.getLogger(name) for name in logs.LOGGERS]
    before = [(one, one.handlers, one.level, one.propagate) for one in loggers]
    try:
        logs.configure(Settings.model_validate({"log_format": form}), "api")
        url = httpx.URL(f"http://alice:{SECRET}@example.org/")
        for name in logs.LOGGERS:
            logging.getLogger(name).warning("Asking %s", str(url))
            try:
                raise ValueError(f"refused: Bearer {SECRET}")
            except ValueError:
                logging.getLogger(name).exception("It failed")
    finally:
        for one, handlers, level, propagate in before:
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
    said = capsys.readouterr().err
    assert said.count("***@example.org") == len(logs.LOGGERS)
    assert "Bearer ***" in said
    assert SECRET not in said
    if form == "json":
        assert all(json.loads(line) for line in said.splitlines())
