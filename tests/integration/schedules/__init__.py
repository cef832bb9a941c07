"""Schedules on a running stack: the API, the mirror, the policies."""
