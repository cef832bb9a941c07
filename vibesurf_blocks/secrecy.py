"""What looks like a secret, by the name it goes by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vibesurf_blocks.tasks import MASK

_SECRET_WORDS: Final = re.compile(
    r"key|token|secret|password|passwd|credential|authorization|cookie", re.IGNORECASE
)
_NOT_SECRET: Final = re.compile(r"max_.*tokens|budget_tokens|tokens$", re.IGNORECASE)

_SHORTEST: Final = 8
"""Characters: a shorter value of the environment may be any word."""


def names_secret(name: str) -> bool:
    """Whether a setting of this name looks as if its value were a secret."""
    return bool(_SECRET_WORDS.search(name)) and not _NOT_SECRET.search(name)


class EnvironmentSecrets:
    """The secrets that a process was given in its environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = {
            value
            for name, value in environment.items()
            if names_secret(name) and len(value) >= _SHORTEST and not value.startswith("/")
        }
        longest = sorted(values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def hide(self, text: str) -> str:
        """The text without any of them."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)
