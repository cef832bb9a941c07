"""What a check finds, and what it says where it finds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue


class Severity(StrEnum):
    """How bad a finding is."""

    NOTE = "note"
    """As somebody wanted it, and the reason of what others may wonder about."""

    WARNING = "warning"
    """Something works, and will not for long or not for everybody."""

    ERROR = "error"
    """Something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        severity: How bad it is.
        what: What is wrong and why, in a sentence or two.
        mend: What to do, with the command to type where there is one.
        subject: What it is about: a task's id, a schedule's `flow_id`, a profile; empty where the
            check's name says it.
    """

    severity: Severity
    what: str
    mend: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a check.

    Attributes:
        says: How things are, in a few words.
        findings: What is wrong.
        facts: Numbers for programs.
    """

    says: str
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """The worst of the findings, None where there are none."""
        ranks = list(Severity)
        found = [ranks.index(one.severity) for one in self.findings]
        return ranks[max(found)] if found else None


def note(what: str, mend: str, subject: str = "") -> Finding:
    """Something that is as somebody wanted it."""
    return Finding(Severity.NOTE, what, mend, subject)


def warning(what: str, mend: str, subject: str = "") -> Finding:
    """Something that works, and will not for long."""
    return Finding(Severity.WARNING, what, mend, subject)


def error(what: str, mend: str, subject: str = "") -> Finding:
    """Something that does not work."""
    return Finding(Severity.ERROR, what, mend, subject)


def told(says: str, *findings: Finding, **facts: JsonValue) -> Told:
    """What a check says, with what it found."""
    return Told(says, findings, facts)


def span(seconds: float) -> str:
    """A length of time for people: `42 s`, `7 min`, `3 h`, `2 d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
