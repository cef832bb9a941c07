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
from vibesurf_blocks.run.course import Course
from vibesurf_blocks.run.heeding import Heeding


@pytest.mark.parametrize("stopped", [False, True])
async def test_no_message_of_a_state_shows_a_secret(stopped: bool) -> None:
    run: Any = AgentRun.__new__(AgentRun)
    told = "It said hunter22."
    run._secrets = Secrets([("pw", "hunter22")], [])
    control: Any = SimpleNamespace(
        stop=asyncio.Event(),
        give_way=lambda: None,
        reason=told,
        state=None,
        commands=deque(),
    )
    checkpoints: Any = SimpleNamespace(discard=lambda: None)
    elsewhere: Any = SimpleNamespace(is_remote=False, end=lambda: asyncio.sleep(0, told))
    publisher: Any = SimpleNamespace(history=lambda _: None, rest=lambda: asyncio.sleep(0))
    unused: Any = None
    log: Any = logging.getLogger(__name__)
    run._control, run._checkpoints, run._elsewhere = control, checkpoints, elsewhere
    run._publisher, run._log = publisher, log
    run._course = Course(checkpoints, unused, publisher)
    run._heeding = Heeding(unused, unused, unused, control, elsewhere, run._course, log)
    run._error, run._begun, run._slot_taken, run._ended_before = told, False, True, None
    if stopped:
        control.stop.set()
    state = await run.conclude()
    assert state.message == "It said <secret>pw</secret>. It said <secret>pw</secret>."
