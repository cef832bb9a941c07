"""How a command fails: a sentence, and an exit code."""

from __future__ import annotations

from typing import Final

from vibesurf_blocks.errors import VibesurfError

NOT_DONE: Final = 1
"""Exit code where the API refused what was asked, or the task failed."""

USAGE: Final = 2
"""Exit code for wrong usage and for parts that cannot be reached."""


class Failure(VibesurfError):
    """The command could not do what it was told to."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code
