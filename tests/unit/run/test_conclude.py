"""How a run says that it ended."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.run.agent import AgentRun


@pytest.mark.parametrize("stopped", [False, True])
async def test_no_message_of_a_state_shows_a_secret(stopped: bool) -> None:
    run: Any = AgentRun.__new__(AgentRun)
    told = "It said hunter22."
    run._secrets = Secrets([("pw", "hunter22")], [])
    run._control = SimpleNamespace(
        stop=asyncio.Event(),
        superseded=False,
        suspended=False,
        reason=told,
        state=None,
        commands=deque(),
    )
    run._checkpoints = SimpleNamespace(discard=lambda: None)
    run._elsewhere = SimpleNamespace(is_remote=False, end=lambda: asyncio.sleep(0, told))
    run._publisher = SimpleNamespace(history=lambda _: None, rest=lambda: asyncio.sleep(0))
    run._history, run._steps, run._log = [], 0, logging.getLogger(__name__)
    run._error, run._finished, run._opened, run._slot_taken = told, False, False, True
    if stopped:
        run._control.stop.set()
    state = await run.conclude()
    assert state.message == "It said <secret>pw</secret>. It said <secret>pw</secret>."
