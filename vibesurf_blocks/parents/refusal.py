"""How a batch or workflow ends that cannot be run as it stands."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed
from pydantic import ValidationError

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.validation import told


def refused(error: InvalidInput | ValidationError) -> State[Any]:
    """Failed, with a sentence that says what to change."""
    if isinstance(error, InvalidInput):
        return Failed(message=f"{error.message}.")
    return Failed(message=f"{told(error)}.")
