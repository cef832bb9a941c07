"""The plan of a chaos run goes by its seed alone."""

from itertools import islice

import pytest

from tests.chaos.driver.plan import KILLS, OTHERS, bursts

NAMES = [*KILLS, *OTHERS]


def test_the_same_seed_plans_the_same_faults() -> None:
    assert list(islice(bursts(7, NAMES), 50)) == list(islice(bursts(7, NAMES), 50))


def test_another_seed_plans_others() -> None:
    assert list(islice(bursts(7, NAMES), 5)) != list(islice(bursts(8, NAMES), 5))


def test_every_fault_comes() -> None:
    planned = {fault.name for burst in islice(bursts(1, NAMES), 200) for fault in burst}
    assert planned == set(NAMES)


def test_only_what_is_named_comes() -> None:
    planned = [fault.name for burst in islice(bursts(1, ["kill-api"]), 20) for fault in burst]
    assert set(planned) == {"kill-api"}


def test_a_plan_that_kills_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="name one that kills"):
        next(bursts(1, ["fill-disk"]))
