"""Control over minutes: a pause longer than Prefect's lease, and many random commands."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.book import Books
from tests.support.long_pause import pause_for
from tests.support.random_control import drive
from tests.support.site import Site
from tests.support.stack import LiveStack

pytestmark = pytest.mark.chaos


@pytest.mark.timeout(900)
async def test_a_pause_of_five_minutes_outlasts_the_lease_of_prefect(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    await pause_for(300, api, prefect, books(5), books(1))


@pytest.mark.timeout(1800)
def test_a_thousand_random_commands_break_nothing(live_stack: LiveStack, site: Site) -> None:
    asked = drive(live_stack, site, runs=100, commands=20)
    print(Counter(asked))
    assert len(asked) >= 1_000
