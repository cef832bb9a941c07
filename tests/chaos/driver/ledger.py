"""What the driver was told and has asked for: against this the end is held."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction that was acknowledged.

    Attributes:
        kept: Acknowledged as kept for later, so that only a run that completes has seen it.
    """

    task_id: str
    sentence: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be, by the number of the invariant in docs/design.md's table."""

    invariant: int
    what: str


@dataclass
class Ledger:
    """See the module.

    Attributes:
        accepted: Tasks that were accepted, by the key of their request.
        stopped: Tasks that somebody asked to stop, whatever was answered.
        suspended: Runs that were paused as in Prefect's UI, whatever they were at.
        instructions: Those acknowledged.
        shown: Sentences of instructions that the model was shown.
        batches: Batches accepted, with the number of their items.
        schedules: Deployments with a schedule by their names: first occurrence and seconds between.
        actions: How many actions of each kind were done, and answers of each status were got.
        violations: What was seen to be wrong while it happened.
        secrets: What must be found nowhere.
        follows: Streams of events that were read to their end.
    """

    accepted: dict[str, str] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    instructions: list[Instruction] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    batches: dict[str, int] = field(default_factory=dict)
    schedules: dict[str, tuple[UUID, datetime, float]] = field(default_factory=dict)
    actions: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    follows: int = 0

    def wrong(self, invariant: int, what: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(invariant, what[:600]))
