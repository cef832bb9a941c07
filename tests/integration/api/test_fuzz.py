"""Whatever is sent to the API, it answers as documented; `make fuzz` sends much more."""

from __future__ import annotations

import pytest

from tests.support.fuzz import fuzz_and_compare
from tests.support.stack import LiveStack


@pytest.mark.slow
async def test_requests_of_all_kinds_break_nothing(stack: LiveStack) -> None:
    tally = await fuzz_and_compare(stack, 60, 20_261)
    assert tally.sent >= 60
    assert len({route for route, _ in tally.answers}) >= 26, tally.table()
