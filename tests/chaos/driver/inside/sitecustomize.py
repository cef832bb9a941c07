"""Imported by Python at the start of each process of a stack under chaos."""

import os

if os.environ.get("VIBESURF_CHAOS_BOOK"):
    from tests.chaos.driver import hooks

    hooks.install()
