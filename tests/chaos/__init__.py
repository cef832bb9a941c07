"""Kills parts of a working stack and counts (`make chaos`); and long runs (`make long`)."""
