"""The command line `vibesurf-blocks`."""

from vibesurf_blocks.cli.main import main

__all__ = ["main"]
