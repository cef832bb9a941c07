"""How requests are told apart and recognised again, without keeping what they said."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending

from vibesurf_blocks.prefect_api.submissions import digest, made_by


def test_a_digest_is_short_and_tells_nothing() -> None:
    secret = "my private key" * 1_000
    assert len(digest(secret)) == 32
    assert "private" not in digest(secret)


@pytest.mark.parametrize("other", ["a ", "A", "", "a\x00", "ä"])
def test_different_texts_have_different_digests(other: str) -> None:
    assert digest("a") != digest(other)
    assert digest(other) == digest(other)


def test_a_run_knows_the_key_that_made_it() -> None:
    run = FlowRun(
        id=uuid4(), flow_id=uuid4(), state=Pending(), tags=["submitted", f"request:{digest('k')}"]
    )
    assert made_by(run, "k")
    assert not made_by(run, "other")
    assert not made_by(run, None)
