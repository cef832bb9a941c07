"""A task run as plain Python, without any worker: `python -m tests.support.loose_run TASK`."""

from __future__ import annotations

import asyncio
import sys

from flows.agent_run import agent_run

if __name__ == "__main__":
    asyncio.run(agent_run(task_description=sys.argv[1], session_id="s-loose"))
