"""What a chaos run says at its end: a table, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.driver.invariants import INVARIANTS
from tests.chaos.driver.ledger import Ledger, Violation
from tests.chaos.driver.workload import ACTIONS

_EXAMPLES = 3


@dataclass
class Outcome:
    """Everything a run found.

    Attributes:
        faults: How often each fault met something, by its name.
        missed: How often there was nothing to do it to.
        repairs: Seconds until all was right again, for each burst.
        mended: Rows that were wrong for longer than they may be while things work, and then right.
        runs: Runs by their last status.
        recoveries: How often a run was started again.
        follows: Streams of events read to their end.
        ended: Seconds the whole stack took to end on SIGTERM.
        unavailable: Faults that could not be had here, and why.
    """

    seed: int
    database: str
    without: str
    minutes: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    repairs: list[float] = field(default_factory=list)
    mended: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    recoveries: int = 0
    instructions: int = 0
    accepted: int = 0
    occurrences: int = 0
    follows: int = 0
    ended: float = 0.0
    unavailable: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(times for name, times in self.faults.items() if name.startswith("kill-"))

    def take(self, ledger: Ledger) -> None:
        """Take over what the driver has noted."""
        self.actions = ledger.actions
        self.accepted = len(ledger.accepted)
        self.instructions = len(ledger.instructions)
        self.follows = ledger.follows
        self.violations = [*ledger.violations, *self.violations]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        counted = Counter(one.invariant for one in self.violations)
        return {
            **vars(self),
            "violations": [asdict(one) for one in self.violations],
            "kills": self.kills,
            "repair_p50": percentile(self.repairs, 0.5),
            "repair_p99": percentile(self.repairs, 0.99),
            "violations_by_invariant": {str(one): counted[one] for one in INVARIANTS},
        }


def percentile(values: list[float], share: float) -> float:
    """A value that so many are at most, 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def lines(outcome: Outcome) -> list[str]:
    """The table, as Markdown."""
    counted = Counter(one.invariant for one in outcome.violations)
    without = f", without {outcome.without}" if outcome.without else ""
    told = [
        f"seed {outcome.seed}, {outcome.database}{without}: {outcome.kills} kills and "
        f"{sum(outcome.faults.values()) - outcome.kills} other faults in {outcome.minutes:.1f} min",
        "",
        "| what | |",
        "| --- | --- |",
        f"| runs | {sum(outcome.runs.values())}: {_counts(outcome.runs)} |",
        f"| kills | {_counts(_part(outcome.faults, 'kill-'))} |",
        f"| frozen | {_counts(_part(outcome.faults, 'freeze-'))} |",
        f"| connections cut, stalled, slow; disk filled | {_counts(_rest(outcome.faults))} |",
        f"| done meanwhile | {_counts(_done(outcome.actions))} |",
        f"| answers of the API | {_counts(_part(outcome.actions, 'HTTP '))} |",
        f"| accepted by REST and UI | {outcome.accepted} tasks, "
        f"{outcome.instructions} instructions |",
        f"| occurrences of schedules | {outcome.occurrences} |",
        f"| streams of events followed to the end | {outcome.follows} |",
        f"| runs started again after their process died | {outcome.recoveries} |",
        f"| rows repaired | {outcome.mended} |",
        f"| time to repair, p50 / p99 / most | {percentile(outcome.repairs, 0.5):.1f} / "
        f"{percentile(outcome.repairs, 0.99):.1f} / {max(outcome.repairs, default=0):.1f} s "
        f"({len(outcome.repairs)} bursts) |",
        f"| throughput | {_rate(outcome):.1f} runs a minute |",
        f"| SIGTERM to nothing left | {outcome.ended:.1f} s |",
        "",
        "| invariant | violations |",
        "| --- | --- |",
        *(f"| {number}. {name} | {counted[number]} |" for number, name in INVARIANTS.items()),
    ]
    shown: Counter[int] = Counter()
    for one in outcome.violations:
        shown[one.invariant] += 1
        if shown[one.invariant] <= _EXAMPLES:
            told.append(f"- {one.invariant}: {one.what}")
    told += [f"- not possible here: {one}" for one in outcome.unavailable]
    return told


def _rate(outcome: Outcome) -> float:
    return sum(outcome.runs.values()) / outcome.minutes if outcome.minutes else 0.0


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{times} {name}" for name, times in counted.most_common()) or "none"


def _part(faults: Counter[str], prefix: str) -> Counter[str]:
    return Counter({k.removeprefix(prefix): v for k, v in faults.items() if k.startswith(prefix)})


def _done(actions: Counter[str]) -> Counter[str]:
    return Counter({name: times for name, times in actions.items() if name in ACTIONS})


def _rest(faults: Counter[str]) -> Counter[str]:
    return Counter({k: v for k, v in faults.items() if not k.startswith(("kill-", "freeze-"))})
