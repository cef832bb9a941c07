"""Blocks on a real Prefect server."""
