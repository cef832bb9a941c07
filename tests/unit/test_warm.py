"""What a fork server has read once, a run does not read again, unless it may differ."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import prefect.context
import pytest
from prefect.logging.configuration import setup_logging

from vibesurf_blocks.worker import warm


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
    warm.take_over_environment()
    assert not reread()


def test_settings_that_a_worker_hands_on_are_known(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in warm._FOUND.items():
        monkeypatch.setenv(name, value)
    warm.take_over_environment()
    assert not reread()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PREFECT_API_URL", "http://127.0.0.1:1/api"), ("PREFECT_LOGGING_LEVEL", "ERROR")],
)
def test_another_setting_is_read(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    warm.take_over_environment()
    assert reread()


@pytest.mark.parametrize("name", ["prefect.toml", "pyproject.toml", ".env"])
def test_a_file_of_settings_is_read(reread: Callable[[], bool], name: str) -> None:
    Path(name).touch()
    warm.take_over_environment()
    assert reread()


def test_a_setting_that_is_gone_is_noticed(
    reread: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(warm._GIVEN, "PREFECT_API_KEY", "was set for the fork server")
    warm.take_over_environment()
    assert reread()


def test_models_of_prefect_are_built_before_the_first_run() -> None:
    """With one left, each run spends some of its way to Running on building it."""
    program = (
        "from importlib import import_module\n"
        "from vibesurf_blocks.worker.worker import preloads\n"
        "for name in preloads(): import_module(name)\n"
        "from pydantic import BaseModel\n"
        "def below(base):\n"
        "    for one in base.__subclasses__():\n"
        "        yield one\n"
        "        yield from below(one)\n"
        "print([f'{one.__module__}.{one.__name__}' for one in below(BaseModel)\n"
        "       if one.__module__.startswith('prefect.') and not one.__pydantic_complete__])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_getting_warm_starts_no_thread() -> None:
    before = set(threading.enumerate())  # other tests may have left some
    setup_logging(incremental=False)
    assert set(threading.enumerate()) <= before
