"""What Prefect would refuse for its size is refused before, by field and limit."""

from __future__ import annotations

import pytest
from fastapi.exceptions import RequestValidationError
from prefect.settings import get_current_settings

from vibesurf_blocks.api.batches import _check_sizes
from vibesurf_blocks.api.parameters import PARAMETERS_LIMIT, check_parameters
from vibesurf_blocks.batches.order import Batch
from vibesurf_blocks.errors import InvalidInput

LONG = "\u00e4" * 90_000
"""540,000 bytes, as Prefect writes it."""


def test_the_limit_is_prefects_own() -> None:
    assert get_current_settings().server.api.max_parameter_size == PARAMETERS_LIMIT


def test_the_sum_counts_and_the_largest_field_is_named() -> None:
    frame = len('{"a":"","b":""}')
    check_parameters({"a": "x" * 1_000, "b": "x" * (PARAMETERS_LIMIT - 1_000 - frame)}, "body")
    with pytest.raises(RequestValidationError) as caught:
        check_parameters({"a": "x" * 200_000, "b": "\u00e4" * 60_000}, "body", "task")
    [error] = caught.value.errors()
    assert error["loc"] == ("body", "task", "b")
    assert "524,288" in error["msg"]


def test_each_item_of_a_batch_has_the_limit_of_a_task() -> None:
    items = ["x" * 100_000] * 10
    body = Batch.model_validate({"session_id": "s", "items": items})
    _check_sizes(body, body.named(body.items or []))
    large = Batch.model_validate({"session_id": "s", "items": [*items, LONG]})
    with pytest.raises(RequestValidationError) as caught:
        _check_sizes(large, large.named(large.items or []))
    assert caught.value.errors()[0]["loc"] == ("body", "items", 10, "task_description")
    in_file = Batch.model_validate({"session_id": "s", "items_file": "tasks.json"})
    with pytest.raises(InvalidInput, match="item '11': The task is too large"):
        _check_sizes(in_file, large.named(large.items or []))
