"""Policies of schedules as tags of their deployment."""

from __future__ import annotations

import pytest

from vibesurf_blocks.schedules.policy import Catchup, Overlap, Policy, policy_of, with_policy


@pytest.mark.parametrize(
    ("tags", "slug", "expected"),
    [
        ([], None, Policy(Catchup.SKIP, Overlap.QUEUE_ONE)),
        (["catchup:all", "overlap:skip"], None, Policy(Catchup.ALL, Overlap.SKIP)),
        (["auto-scheduled", "catchup:latest"], "a", Policy(Catchup.LATEST, Overlap.QUEUE_ONE)),
        (["catchup:all@a", "catchup:latest"], "a", Policy(Catchup.ALL, Overlap.QUEUE_ONE)),
        (["catchup:all@a", "catchup:latest"], "b", Policy(Catchup.LATEST, Overlap.QUEUE_ONE)),
        (["catchup:all@a"], None, Policy()),
        (["catchup:everything", "overlap:", "overlap:queue-all "], None, Policy()),
    ],
)
def test_policies_are_read_from_tags(tags: list[str], slug: str | None, expected: Policy) -> None:
    assert policy_of(tags, slug) == expected


def test_setting_a_policy_leaves_the_other_tags_alone() -> None:
    tags = with_policy(["x", "catchup:all", "overlap:skip@b"], None, Catchup.LATEST, None)
    assert tags == ["x", "overlap:skip@b", "catchup:latest"]


def test_a_policy_for_all_schedules_replaces_those_for_one() -> None:
    assert with_policy(["overlap:skip@b"], None, None, Overlap.QUEUE_ALL) == ["overlap:queue-all"]


def test_a_policy_for_one_schedule_leaves_the_others() -> None:
    tags = with_policy(["catchup:all", "catchup:skip@a"], "a", Catchup.LATEST, None)
    assert tags == ["catchup:all", "catchup:latest@a"]
    assert policy_of(tags, "a").catchup is Catchup.LATEST
    assert policy_of(tags, "b").catchup is Catchup.ALL
