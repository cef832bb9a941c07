"""A row of `llm_profiles` from a block, whatever that holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prefect.client.schemas.objects import BlockDocument

from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.mirror.profiles import records_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "hidden-value"


def block(number: int = 1, **data: Any) -> BlockDocument:
    kind = UUID(int=99)
    given = {"provider": "openai", "model": "m", **data}
    made = BlockDocument(name=f"b-{number}", data=given, block_schema_id=kind, block_type_id=kind)
    made.id = UUID(int=number)
    made.created = NOON  # type: ignore[assignment]
    made.updated = NOON + timedelta(seconds=number)  # type: ignore[assignment]
    return made


def test_a_row_names_the_block_that_has_the_key() -> None:
    (row,) = records_of([block(api_key="********", profile_name="My model")], {"My model": NOON})
    assert row.encrypted_api_key == "prefect.blocks.llm-profile.b-1"
    assert row.last_used_at == NOON
    assert (row.profile_name, row.is_active, row.is_default) == ("My model", True, False)
    (row,) = records_of([block(provider_secrets="********")], {})  # so Prefect masks null
    assert row.is_active
    assert (row.profile_name, row.encrypted_api_key) == ("b-1", None)


@pytest.mark.parametrize(
    "data",
    [
        {"base_url": f"http://me:{SECRET}@host/v1"},
        {"base_url": f"http://host/v1?key={SECRET}"},
        {"provider_config": {"default_headers": {"Authorization": SECRET}}},
        {"provider_config": [SECRET]},
    ],
)
def test_a_secret_in_the_wrong_place_does_not_reach_the_row(data: dict[str, Any]) -> None:
    (row,) = records_of([block(**data)], {})
    assert SECRET not in row.model_dump_json()
    assert not row.is_active


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=600),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)
FIELDS = st.sampled_from(
    [name for name in LLMProfile.model_fields if name not in {"api_key", "provider_secrets"}]
)


@given(st.dictionaries(FIELDS, JSON))
def test_any_block_gets_a_row_or_none(data: dict[str, Any]) -> None:
    """Prefect stores whatever it is sent; one strange block must not hold up the others."""
    assume(data.get("profile_name") != "b-2")
    rows = records_of([block(1, **data), block(2)], {})
    assert rows[-1].model == "m"
    assert sum(row.is_default for row in rows) <= 1
