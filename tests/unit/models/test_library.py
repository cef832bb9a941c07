"""browser-use is an extra: nothing needs it before a model is used, and then it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models.clients import chat_model

PROFILE = LLMProfile(provider="openai-compatible", model="m", base_url="http://127.0.0.1:9/v1")


def test_no_part_of_the_stack_imports_it_at_its_start() -> None:
    parts = "vibesurf_blocks.collection, vibesurf_blocks.api.app, vibesurf_blocks.mirror.service"
    program = (
        f"import sys, flows.agent_run, deployments.apply, {parts}; "
        "sys.exit(' '.join(one for one in sys.modules if one.startswith('browser_use')) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_without_it_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "browser_use"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "browser_use", None)
    with pytest.raises(ModelError, match=r"pip install 'vibesurf-blocks\[browser\]'"):
        chat_model(PROFILE)


def test_it_is_quiet_and_writes_nothing_into_the_home_of_the_user() -> None:
    program = (
        "from vibesurf_blocks.blocks import LLMProfile\n"
        "from vibesurf_blocks.models.clients import chat_model\n"
        "import os\n"
        "chat_model(LLMProfile(provider='openai', model='m', api_key='k'))\n"
        "assert os.environ['ANONYMIZED_TELEMETRY'] == 'false'\n"
        "assert 'browser-use' in os.environ['BROWSER_USE_CONFIG_DIR']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "VIBESURF_HOME": "/nonexistent/home"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
