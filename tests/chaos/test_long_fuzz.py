"""Ten thousand requests of all kinds to the whole API, and nothing left of those refused."""

from __future__ import annotations

import os

import pytest

from tests.support.fuzz import fuzz_and_compare
from tests.support.stack import LiveStack

pytestmark = pytest.mark.chaos


@pytest.mark.timeout(7_200)
async def test_ten_thousand_requests_break_nothing(
    stack: LiveStack, capsys: pytest.CaptureFixture[str]
) -> None:
    count = int(os.environ.get("FUZZ_REQUESTS", "10000"))
    tally = await fuzz_and_compare(stack, count, int(os.environ.get("FUZZ_SEED", "1")))
    with capsys.disabled():
        print(f"\n{tally.table()}")
    assert tally.sent >= count
