"""What was taken over, what was mended on the way, and what was left, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

_EXAMPLES: Final = 5
"""Things of one kind that are named; of the others only how many there are is told."""


class What(StrEnum):
    """What a VibeSurf database holds."""

    TASKS = "tasks"
    SCHEDULES = "schedules"
    PROFILES = "llm_profiles"
    OTHERS = "other tables"


class Leave(Exception):
    """This one is left where it is; the message says why, and what to do about it."""


@dataclass(slots=True)
class Counts:
    """How many of one kind there are.

    Attributes:
        found: In the VibeSurf database.
        taken: New here; in a dry run: would be.
        changed: Here since an earlier time, and now complete; in a dry run: would be.
        already: Here since an earlier time, with nothing to add.
        left: Not taken.
    """

    found: int = 0
    taken: int = 0
    changed: int = 0
    already: int = 0
    left: int = 0


@dataclass(slots=True)
class Remark:
    """Why things of one kind were mended or left.

    Attributes:
        what: Their kind.
        why: The reason, for a person.
        count: How many they are.
        examples: Some of them, by id or name.
    """

    what: What
    why: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, one: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(one)


@dataclass(slots=True)
class Report:
    """All that came of it.

    Attributes:
        source: The VibeSurf database.
        version: Its version, as VibeSurf counts them; 0 of those made before it did.
        applied: Whether anything was written, as opposed to a dry run.
        counts: How many there are of each kind.
        notes: What is to be known about all of it.
    """

    source: str
    version: int
    applied: bool
    counts: dict[What, Counts] = field(
        default_factory=lambda: {one: Counts() for one in What if one is not What.OTHERS}
    )
    notes: list[str] = field(default_factory=list)
    _mended: dict[tuple[What, str], Remark] = field(default_factory=dict)
    _left: dict[tuple[What, str], Remark] = field(default_factory=dict)

    def mended(self, what: What, one: str, why: Iterable[str]) -> None:
        """Note what was mended of one thing."""
        for reason in why:
            self._mended.setdefault((what, reason), Remark(what, reason)).add(one)

    def left(self, what: What, one: str, why: str, *, whole: bool = True) -> None:
        """Note that one thing was left, or, where not `whole`, that something of it was."""
        self._left.setdefault((what, why), Remark(what, why)).add(one)
        if whole and what in self.counts:
            self.counts[what].left += 1

    @property
    def all_mended(self) -> list[Remark]:
        """What was mended, in the order it was met."""
        return list(self._mended.values())

    @property
    def all_left(self) -> list[Remark]:
        """What was left, in the order it was met."""
        return list(self._left.values())

    @property
    def news(self) -> int:
        """How many things are new here or were completed."""
        return sum(one.taken + one.changed for one in self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "source": self.source,
            "version": self.version,
            "applied": self.applied,
            "changed": self.applied and self.news > 0,
            **{
                str(what): {
                    "found": one.found,
                    "taken": one.taken,
                    "changed": one.changed,
                    "already": one.already,
                    "left": one.left,
                }
                for what, one in self.counts.items()
            },
            "mended": [_plain(one) for one in self.all_mended],
            "left": [_plain(one) for one in self.all_left],
            "notes": self.notes,
        }


def _plain(remark: Remark) -> dict[str, Any]:
    return {
        "what": str(remark.what),
        "why": remark.why,
        "count": remark.count,
        "examples": remark.examples,
    }
