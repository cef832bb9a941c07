"""What is wrong with what was given, in a sentence."""

from __future__ import annotations

from pydantic import ValidationError


def told(error: ValidationError) -> str:
    """What is wrong where, without what was given: it may be large or secret."""
    parts = []
    for one in error.errors()[:5]:
        place = ".".join(str(part) for part in one["loc"])
        said = one["msg"].removeprefix("Value error, ")
        parts.append(f"{place}: {said}" if place else said)
    return "; ".join(parts)
