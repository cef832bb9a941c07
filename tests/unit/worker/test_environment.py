"""What a fork server has read once, a run does not read again, unless it may differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import prefect.context
import pytest

from vibesurf_blocks.worker import environment


@pytest.fixture
def reread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], bool]:
    """Says whether Prefect read its settings anew since the test began, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    before = prefect.context.GLOBAL_SETTINGS_CONTEXT
    # Puts back after the test what it was.
    monkeypatch.setattr(prefect.context, "GLOBAL_SETTINGS_CONTEXT", before)
    return lambda: prefect.context.GLOBAL_SETTINGS_CONTEXT is not before


def test_the_same_environment_is_not_read_again(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "an id is no setting")
    environment.take_over_environment()
    assert not reread()


def test_settings_that_a_worker_hands_on_are_known(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment._FOUND.items():
        monkeypatch.setenv(name, value)
    environment.take_over_environment()
    assert not reread()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PREFECT_API_URL", "http://127.0.0.1:1/api"), ("PREFECT_LOGGING_LEVEL", "ERROR")],
)
def test_another_setting_is_read(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    environment.take_over_environment()
    assert reread()


@pytest.mark.parametrize("name", ["prefect.toml", "pyproject.toml", ".env"])
def test_a_file_of_settings_is_read(reread: Callable[[], bool], name: str) -> None:
    Path(name).touch()
    environment.take_over_environment()
    assert reread()


def test_a_setting_that_is_gone_is_noticed(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environment._GIVEN, "PREFECT_API_KEY", "was set for the fork server")
    environment.take_over_environment()
    assert reread()
