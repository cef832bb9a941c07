"""How far a batch is, by the children it has, and which item is to be started next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from vibesurf_blocks.batches.order import Batch, BatchItem
    from vibesurf_blocks.prefect_api.children import Child

_LONGEST_DELAY = timedelta(days=1)


@dataclass(slots=True)
class Entry:
    """One item and its tries.

    Attributes:
        name: The item's id.
        item: What is asked.
        last: The newest try of all rounds, None before the first.
        tries: Tries begun in the present round.
        runs: Tries begun in all rounds.
    """

    name: str
    item: BatchItem
    last: Child | None = None
    tries: int = 0
    runs: int = 0

    @property
    def status(self) -> Status:
        """The status of the newest try; pending before the first."""
        return Status.PENDING if self.last is None else status_of(self.last.run.state)

    @property
    def active(self) -> bool:
        """Whether a try has not ended."""
        return self.last is not None and not self.last.ended


@dataclass(frozen=True, slots=True)
class Start:
    """An item to be started now.

    Attributes:
        entry: The item.
        number: Which try it is in this round, from 0.
        session_id: The session to run it in.
    """

    entry: Entry
    number: int
    session_id: str


@dataclass(slots=True)
class Progress:
    """How far a batch is in the present round.

    An item that was completed, in whatever round, is done. One that failed in an earlier round is
    tried anew; one that was stopped on purpose in this round is left alone.
    """

    batch: Batch
    entries: Mapping[str, Entry]
    round: int
    _active: dict[str, None] = field(default_factory=dict)
    _waiting: dict[str, None] = field(default_factory=dict)
    _lost: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        batch: Batch,
        items: Mapping[str, BatchItem],
        round_: int,
        found: Iterable[Child],
    ) -> Progress:
        """The progress of a batch whose children are those that were found, in their order."""
        entries = {name: Entry(name, item) for name, item in items.items()}
        progress = cls(batch, entries, round_)
        progress._waiting = dict.fromkeys(entries)
        for child in found:
            progress.take_in(child)
        return progress

    def take_in(self, child: Child) -> None:
        """Take note of a child that was found or made, or has ended."""
        entry = self.entries.get(child.part)
        if entry is None or (entry.last is not None and _completed(entry.last)):
            return  # not of this batch as it is now, or of no interest any more
        if entry.last is None or entry.last.run.id != child.run.id:
            entry.runs += 1
        entry.last = child
        if child.round == self.round:
            entry.tries = max(entry.tries, child.number + 1)
        if entry.active:
            self._active[entry.name] = None
        else:
            self._active.pop(entry.name, None)
        settled = self._settled(entry)
        if settled and not _completed(child):
            self._lost[entry.name] = None
        if entry.active or settled:
            self._waiting.pop(entry.name, None)
        elif entry.tries:
            # A retry comes before what was not begun yet.
            self._waiting = {entry.name: None, **self._waiting}

    @property
    def counts(self) -> dict[Status, int]:
        """How many items are of each status."""
        counts = dict.fromkeys(Status, 0)
        for entry in self.entries.values():
            counts[entry.status] += 1
        return counts

    @property
    def halted(self) -> bool:
        """Whether no further item is to be started because one was not completed."""
        return self.batch.on_failure == "stop" and bool(self._lost)

    @property
    def done(self) -> bool:
        """Whether nothing runs and nothing is left to start."""
        return not self._active and (not self._waiting or self.halted)

    def next(self, slots: int, now: datetime) -> list[Start]:
        """The items to start now, where so many agents may run at once."""
        free = (slots if self.batch.mode == "parallel" else 1) - len(self._active)
        if free <= 0 or self.halted:
            return []
        taken = {str(one.run.parameters.get("session_id")) for one in self._running()}
        starts: list[Start] = []
        for name in self._waiting:
            if len(starts) >= free:
                break
            entry = self.entries[name]
            if self.due(entry) > now:
                if self.batch.on_failure == "stop":
                    break  # whether anything else is to be started is still open
                continue
            session = self._session(entry.item, taken, slots)
            if session is not None:
                taken.add(session)
                starts.append(Start(entry, entry.tries, session))
        return starts

    def seconds_to_retry(self, now: datetime) -> float | None:
        """Seconds until a waiting item is to be tried again, None where none is."""
        retries = [self.entries[name] for name in self._waiting if self.entries[name].tries]
        due = min((self.due(entry) for entry in retries), default=None)
        return None if due is None else max(0.0, (due - now).total_seconds())

    def due(self, entry: Entry) -> datetime:
        """When an item may be started (UTC)."""
        if entry.tries == 0 or entry.last is None:
            return datetime.min.replace(tzinfo=UTC)
        ended = entry.last.run.end_time or datetime.now(UTC)
        delay = self.batch.retry_delay_seconds * 2 ** (entry.tries - 1)
        return ended + min(timedelta(seconds=delay), _LONGEST_DELAY)

    def _running(self) -> list[Child]:
        entries = (self.entries[name] for name in self._active)
        return [entry.last for entry in entries if entry.last is not None]

    def _settled(self, entry: Entry) -> bool:
        """Whether nothing more becomes of an item in this round."""
        if entry.active or entry.last is None:
            return False
        match entry.status:
            case Status.COMPLETED:
                return True
            case Status.STOPPED:
                return entry.last.round == self.round
            case _:
                return entry.tries > self.batch.retries

    def _session(self, item: BatchItem, taken: set[str], slots: int) -> str | None:
        """The session for an item, None while another of the batch's agents works in it."""
        if item.session_id is not None:
            wanted = [item.session_id]
        elif self.batch.mode == "serial":
            wanted = [self.batch.session_id]
        else:
            base = self.batch.session_id[:240]
            wanted = [f"{base}-{lane}" for lane in range(1, slots + 1)]
        return next((one for one in wanted if one not in taken), None)


def _completed(child: Child) -> bool:
    return status_of(child.run.state) is Status.COMPLETED
