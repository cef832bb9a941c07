"""Names of the events of agent runs; the mirror follows them by their prefix."""

from typing import Final

EVENT_PREFIX: Final = "vibesurf.agent-run."

STEP_EVENT: Final = EVENT_PREFIX + "step"
"""After each step: payload `number`, `name`, `progress` (0 to 1), `ok`, `seconds`, `engine`."""

PUBLISHED_EVENT: Final = EVENT_PREFIX + "published"
"""After progress or history were published: what rows show can be read now."""

COMMAND_EVENT: Final = "vibesurf.command.sent"
"""A command was kept for the run: payload `operation`, `id`. Not for the mirror."""
