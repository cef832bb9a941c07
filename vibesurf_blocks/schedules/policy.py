"""What becomes of occurrences that were missed, or that fall due while the slot is taken.

The policies of a schedule are tags of its deployment, such as `catchup:latest` and
`overlap:queue-all`: anybody sees and sets them in the UI, in prefect.yaml, by the SDK and by REST,
and every run that Prefect makes of the schedule carries them. Where a deployment has several
schedules, `catchup:latest@SLUG` is meant for the one with that slug alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

_TAG = re.compile(r"(catchup|overlap):([a-z-]+)(?:@(.+))?", re.DOTALL)


class Catchup(StrEnum):
    """What runs of the occurrences that fell due while nothing ran."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of an occurrence that falls due while the slot is taken."""

    SKIP = "skip"
    QUEUE_ONE = "queue-one"
    QUEUE_ALL = "queue-all"


@dataclass(frozen=True, slots=True)
class Policy:
    """The policies of one schedule."""

    catchup: Catchup = Catchup.SKIP
    overlap: Overlap = Overlap.QUEUE_ONE


def policy_of(tags: Iterable[str], slug: str | None) -> Policy:
    """Read the policies of the schedule with this slug from its deployment's tags.

    A tag with the slug counts before one without; what is not understood counts as not there.
    """
    given: dict[str, str] = {}
    for tag in sorted(tags, key=lambda one: "@" in one):
        match = _TAG.fullmatch(tag)
        if match is not None and match[3] in {None, slug}:
            kind: type[StrEnum] = Catchup if match[1] == "catchup" else Overlap
            if match[2] in set(kind):
                given[match[1]] = match[2]
    return Policy(
        Catchup(given.get("catchup", Catchup.SKIP)),
        Overlap(given.get("overlap", Overlap.QUEUE_ONE)),
    )


def with_policy(
    tags: Sequence[str], slug: str | None, catchup: Catchup | None, overlap: Overlap | None
) -> list[str]:
    """Return the tags with these policies set; a policy that is None stays as it is.

    Args:
        tags: The deployment's tags.
        slug: Whose policies; None sets them for all schedules of the deployment.
        catchup: The new policy for missed occurrences.
        overlap: The new policy for occurrences that find the slot taken.
    """
    kept = list(tags)
    for name, value in (("catchup", catchup), ("overlap", overlap)):
        if value is None:
            continue
        old = [
            tag
            for tag in kept
            if (match := _TAG.fullmatch(tag)) is not None
            and match[1] == name
            and (slug is None or match[3] == slug)
        ]
        kept = [tag for tag in kept if tag not in old]
        kept.append(f"{name}:{value}" + (f"@{slug}" if slug is not None else ""))
    return kept
