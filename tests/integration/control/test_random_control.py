"""Random commands, deaths and buttons over some runs break no invariant; `make long` has more."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.random_control import drive
from tests.support.site import Site
from tests.support.stack import LiveStack


@pytest.mark.timeout(300)
def test_random_commands_break_nothing(live_stack: LiveStack, site: Site) -> None:
    asked = drive(live_stack, site, runs=7, commands=12)
    assert len(asked) >= 30, Counter(asked)
    print(Counter(asked))
