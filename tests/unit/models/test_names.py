"""Names of profiles: any text leads to a block of its own, and to the same one each time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import BlockDocument

from vibesurf_blocks.models.profiles import by_name, default_of, document_name, profile_name

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
names = st.text(min_size=1, max_size=100)


def document(number: int, name: str, saved: int = 0, **data: object) -> BlockDocument:
    kind = UUID(int=99)
    made = BlockDocument(name=name, data=data, block_schema_id=kind, block_type_id=kind)
    made.id = UUID(int=number)
    made.created = NOON + timedelta(seconds=number)  # type: ignore[assignment]
    made.updated = NOON + timedelta(seconds=saved)  # type: ignore[assignment]
    return made


@given(names, names)
def test_each_name_has_a_block_of_its_own(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", document_name(one))
    assert (document_name(one) == document_name(other)) == (one == other)
    derived = document_name(one)
    assert derived == one or document_name(derived) != derived


def test_a_name_that_can_name_a_block_does() -> None:
    assert document_name("gpt-4-1") == "gpt-4-1"
    assert document_name("My Model").startswith("my-model-")
    assert document_name("模型")


def test_a_profile_goes_by_its_field_else_by_its_block() -> None:
    assert profile_name(document(1, "a", profile_name="My Model")) == "My Model"
    assert profile_name(document(1, "a", profile_name=None)) == "a"
    assert profile_name(document(1, "a", profile_name=" ")) == "a"
    assert profile_name(document(1, "builtin")) is None
    assert profile_name(document(1, "a", profile_name="x" * 101)) is None


def test_of_several_with_one_name_the_first_counts() -> None:
    documents = [document(2, "b", profile_name="x"), document(1, "x"), document(3, "c")]
    assert {name: one.id.int for name, one in by_name(documents).items()} == {"x": 1, "c": 3}


def test_of_several_defaults_the_one_saved_last_counts() -> None:
    marked = [
        document(1, "a", saved=5, default=True),
        document(2, "b", saved=9, default=True),
        document(3, "c", saved=99, default=True, active=False),
        document(4, "d", saved=99, default=False),
    ]
    assert default_of(by_name(marked)) == "b"
    assert default_of(by_name(marked[2:])) is None
