"""When schedules fire, without a server."""
