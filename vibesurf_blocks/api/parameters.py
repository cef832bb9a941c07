"""What Prefect takes as the parameters of a run; more is refused before anything is created."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from fastapi.exceptions import RequestValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

PARAMETERS_LIMIT: Final = 524_288
"""Bytes of the parameters of one run at the most, as ASCII JSON: what Prefect takes by default."""


def check_parameters(parameters: Mapping[str, JsonValue], *place: str | int) -> None:
    """See that Prefect takes these parameters, all of them together.

    Args:
        parameters: Those of one run.
        place: Where they stand in the request, such as `"body", "task"`.

    Raises:
        RequestValidationError: They are too large; it names the largest field and the limit.
    """
    size = _size(parameters)
    if size <= PARAMETERS_LIMIT:
        return
    largest = max(parameters, key=lambda name: _size(parameters[name]))
    msg = (
        f"The task is too large: written as ASCII JSON, in which one character may take 6 or 12 "
        f"bytes, it has {size:,} bytes, of which `{largest}` is the most; Prefect takes "
        f"{PARAMETERS_LIMIT:,} in all"
    )
    raise RequestValidationError([{"type": "too_long", "loc": (*place, largest), "msg": msg}])


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":")))
