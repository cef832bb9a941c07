"""Records refuse what a row cannot hold and keep the rest in one form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.records import NOON, task
from vibesurf_blocks.tables import TaskMetadata, TaskRecord
from vibesurf_blocks.tables.models import TaskRow
from vibesurf_blocks.tables.types import canonical_json, storable


def test_record_and_row_have_the_same_fields() -> None:
    assert list(TaskRecord.model_fields) == [column.name for column in TaskRow.__table__.columns]


def test_times_are_kept_in_utc() -> None:
    moment = datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    record = task("a", created_at=moment)
    assert record.created_at.tzinfo is UTC
    assert record.created_at == moment


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_id": "x" * 37},
        {"task_id": ""},
        {"session_id": "x" * 256},
        {"llm_profile_name": "x" * 101},
        {"report_path": "x" * 501},
        {"status": "Running"},
        {"created_at": datetime(2026, 3, 1)},  # noqa: DTZ001 - what is refused
        {"task_metadata": {"progress": 101}},
        {"task_metadata": {"unknown": 1}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TaskRecord.model_validate({**task("a").model_dump(), **wrong})


def test_metadata_comes_back_from_its_json() -> None:
    metadata = TaskMetadata.model_validate(
        {
            "scheduled_for": NOON,
            "history": [{"operation": "stop", "asked_at": NOON, "effective_at": NOON}],
        }
    )
    text = canonical_json(metadata.model_dump(mode="json"))
    assert TaskMetadata.model_validate_json(text) == metadata


@given(st.text(st.characters()))
def test_storable_texts_can_be_encoded_and_stay(text: str) -> None:
    kept = storable(text)
    assert "\x00" not in kept
    kept.encode()
    assert storable(kept) == kept


def test_surrogate_pairs_become_the_character_they_stand_for() -> None:
    assert storable("\ud83d\ude00 \ud83d") == "😀 \ufffd"


def test_numbers_that_are_not_json_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
