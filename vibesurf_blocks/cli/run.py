"""`vibesurf-blocks run`: submits a task, shows what happens, prints its result."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping

from vibesurf_blocks.cli.client import Api, path
from vibesurf_blocks.cli.failure import NOT_DONE, Failure
from vibesurf_blocks.cli.follow import EXIT_CODES, show_events, show_row
from vibesurf_blocks.cli.output import print_json
from vibesurf_blocks.tasks import Status


def run_task(url: str, body: Mapping[str, object], *, as_json: bool) -> int:
    """Submit a task to the API at `url`, follow it to its end and return the exit code.

    Raises:
        Failure: It was not accepted, or the API does not answer.
    """
    with Api(url) as api:
        # The key makes it safe to ask again when the answer was lost.
        said = api.post("/tasks/submit", body, key=str(uuid.uuid4()))
        if not isinstance(said, dict) or "success" not in said:
            raise Failure(f"What answers at {url} is not this API; see VIBESURF_API_URL.")
        if not said["success"]:
            active = said.get("active_task")
            which = f" It is {active['task_id']} ({active['status']})." if active else ""
            raise Failure(f"Not accepted: {said['message']}.{which}".replace("..", "."), NOT_DONE)
        events = api.follow(said["task_id"])
        if as_json:
            deque(events, maxlen=0)
        else:
            show_events(events)
        row = api.get(path("tasks", said["task_id"]))
    if as_json:
        print_json(row)
    else:
        show_row(row)
    return EXIT_CODES[Status(row["status"])]
