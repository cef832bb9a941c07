"""Counts how often each of the nine invariants was broken, from evidence of the driver's own."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import StateType

from tests.chaos.driver import book
from tests.chaos.driver.ledger import Ledger, Violation
from tests.chaos.driver.rows import Change, Detail, Rows
from vibesurf_blocks.prefect_api.runs import all_runs
from vibesurf_blocks.prefect_api.states import SUSPENDED, status_of
from vibesurf_blocks.prefect_api.submissions import SUBMITTED_TAG
from vibesurf_blocks.tasks import AGENT_FLOW, Status

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

INVARIANTS = {
    1: "never two agents at once in a slot",
    2: "each due run has a row that says the same",
    3: "what was acknowledged is kept",
    4: "an occurrence fires once",
    5: "no terminal status is left",
    6: "no secret anywhere",
    7: "no path outside the workspace",
    8: "bad input is refused with a sentence",
    9: "ends in seconds, loses nothing",
}
"""What must always hold, in the numbers of the design."""

BROWSER_PROFILE = "chaos"
"""The profile of tasks for a browser."""

_NO_ROW = Detail("no row", "", "", "")
_CUT_OFF = "more instruction"
_TERMINAL = {status.value for status in Status if status.terminal}
_GAVE_UP = "after it was started again"
_CHUNK = 1 << 20


@dataclass
class Facts:
    """What Prefect and the tables say at the end.

    Attributes:
        runs: Every run of the agent's flow and pools that was due.
        states: The names and types of all states of those that are looked at closely.
    """

    runs: dict[str, FlowRun]
    flows: dict[UUID, str]


async def read_facts(prefect: PrefectClient, pools: tuple[str, ...], end: datetime) -> Facts:
    """Read every run that was due by a moment."""
    runs: dict[str, FlowRun] = {}
    async for page in all_runs(prefect, pools):
        for run in page:
            if run.expected_start_time is None or run.expected_start_time <= end:
                runs[str(run.id)] = run
    flows = {}
    for flow_id in {run.flow_id for run in runs.values()}:
        flows[flow_id] = (await prefect.read_flow(flow_id)).name
    return Facts(runs, flows)


def double_slots(entries: Iterable[book.Entry]) -> Iterator[Violation]:
    """1: two agents at work at once, as they wrote themselves."""
    seen: set[frozenset[str]] = set()
    for entry in entries:
        for other in entry.beside:
            pair = frozenset({f"{entry.task}.{entry.pid}", other})
            if pair not in seen:
                seen.add(pair)
                yield Violation(1, f"at {entry.at:.2f} {entry.task}.{entry.pid} beside {other}")


async def double_accepts(facts: Facts, prefect: PrefectClient) -> list[Violation]:
    """1: a submit that was accepted before the one accepted before it had ended."""
    found = []
    runs = [r for r in facts.runs.values() if SUBMITTED_TAG in r.tags and r.created is not None]
    runs.sort(key=lambda run: str(run.created))
    for first, second in pairwise(runs):
        assert second.created is not None
        # The clocks of Prefect's server and the agent are one; a commit takes its moment.
        if first.end_time is None or first.end_time <= second.created + timedelta(seconds=0.5):
            continue
        states = await prefect.read_flow_run_states(first.id)
        if not any(state.name == "Suspended" for state in states):
            found.append(
                Violation(
                    1, f"{second.id} was accepted at {second.created}; {first.id} ended later"
                )
            )
    return found


def rows_differ(facts: Facts, statuses: dict[str, str]) -> Iterator[Violation]:
    """2: at the end every row is its run's."""
    for run_id, run in facts.runs.items():
        if facts.flows[run.flow_id] != AGENT_FLOW:
            continue
        row, status = statuses.get(run_id), status_of(run.state)
        if row != status:
            yield Violation(2, f"at the end the row of {run_id} says {row}, Prefect {status}")


def rows_without_run(facts: Facts, statuses: dict[str, str]) -> Iterator[Violation]:
    """2: no row without a run."""
    for task_id in statuses.keys() - facts.runs.keys():
        yield Violation(2, f"the row {task_id} has no run in Prefect")


def forgotten(ledger: Ledger, facts: Facts, details: dict[str, Detail]) -> Iterator[Violation]:
    """3: accepted tasks run, instructions are seen, batches are done.

    The reader tells in its result what it was told, whichever way it ends; of many the first ones,
    and its history the others. A browser agent is shown it at its next step: one that is stopped or
    given up before that has none.
    """
    for key, task_id in ledger.accepted.items():
        status, _, error, *_ = details.get(task_id, _NO_ROW)
        run = facts.runs.get(task_id)
        stopped = status == Status.STOPPED and task_id in ledger.stopped
        gave_up = status == Status.FAILED and _GAVE_UP in error
        if run is None:
            yield Violation(3, f"the accepted task {task_id} ({key}) is not in Prefect")
        elif status != Status.COMPLETED and not stopped and not gave_up:
            yield Violation(3, f"the accepted task {task_id} ({key}) is {status}: {error}")
    for one in ledger.instructions:
        status, result, error, profile, seen = details.get(one.task_id, _NO_ROW)
        browses = profile == BROWSER_PROFILE
        if (one.kept or browses) and status != Status.COMPLETED:
            continue
        if browses:
            if one.sentence not in ledger.shown:
                yield Violation(3, f"{one.task_id} was never shown {one.sentence!r}")
            continue
        if status == Status.FAILED and not result:
            error = f"no result; {error}"
        told = seen if _CUT_OFF in result and one.sentence not in result else result
        times = told.count(one.sentence)
        if times != 1:
            yield Violation(
                3, f"{one.task_id} ({status}, {error}) has {times} times {one.sentence!r}"
            )


def batches_wrong(ledger: Ledger, facts: Facts) -> Iterator[Violation]:
    """3: each item of a batch has its run, which ended."""
    children: dict[str, Counter[str]] = defaultdict(Counter)
    for run in facts.runs.values():
        parent = run.labels.get("vibesurf.parent")
        if parent is not None:
            tried = f"{run.labels.get('vibesurf.part')} {run.labels.get('vibesurf.try')}"
            children[str(parent)][f"{tried} {run.labels.get('vibesurf.round')}"] += 1
    for batch_id, size in ledger.batches.items():
        run_ = facts.runs.get(batch_id)
        state = run_.state if run_ else None
        parts = {one.split(" ")[0] for one in children[batch_id]}
        twice = [one for one, times in children[batch_id].items() if times > 1]
        if state is None or not state.is_final():
            yield Violation(3, f"the batch {batch_id} is {state and state.name}")
        elif state.type is StateType.CANCELLED:
            continue
        elif len(parts) != size:
            yield Violation(3, f"the batch {batch_id} of {size} has runs for {sorted(parts)}")
        if twice:
            yield Violation(4, f"the batch {batch_id} made {twice} twice")


def occurrences_wrong(ledger: Ledger, facts: Facts, end: datetime) -> Iterator[Violation]:
    """4 and 3: each occurrence has one run; none is missing."""
    for name, (deployment, first, every) in ledger.schedules.items():
        runs = [
            r for r in facts.runs.values() if r.deployment_id == deployment and r.auto_scheduled
        ]
        times: Counter[datetime | None] = Counter(run.expected_start_time for run in runs)
        due = first
        # The last one may be on its way.
        while due < end - timedelta(seconds=2):
            if times[due] != 1:
                number = 4 if times[due] > 1 else 3
                yield Violation(number, f"{name} has {times[due]} runs for {due}")
            due += timedelta(seconds=every)


async def terminal_left(
    changes: Iterable[Change], prefect: PrefectClient, facts: Facts, suspended: Container[str] = ()
) -> list[Violation]:
    """5: a row left a terminal status otherwise than by somebody's hand in Prefect.

    Prefect's UI forces its Pause: over an end, too, where the run ends just then. The row follows.
    """
    found = []
    for one in changes:
        if one.old not in _TERMINAL:
            continue
        run = facts.runs.get(one.task_id)
        states = [] if run is None else await prefect.read_flow_run_states(run.id)
        types = [state.type for state in states]
        if one.task_id in suspended and one.new == Status.PAUSED:
            by_hand = [b.is_final() and a.name == SUSPENDED for b, a in pairwise(states)]
            if any(by_hand):
                continue
        names = [state.name for state in states]
        left = any(
            before.is_final() and after.type is not before.type
            for before, after in pairwise(states)
        )
        because = f"; so did its run: {names}" if left else f"; its run did not: {types}"
        found.append(Violation(5, f"{one.task_id} went from {one.old} to {one.new}{because}"))
    return found


async def secrets_told(
    ledger: Ledger, folder: Path, prefect: PrefectClient, facts: Facts, lines: Iterable[str]
) -> list[Violation]:
    """6: no secret in any file of the stack, in artifacts, or in a process list."""
    found = []
    for secret in ledger.secrets:
        needle = secret.encode()
        for path in _files(folder):
            if path.name != "planted" and _holds(path, needle):
                found.append(Violation(6, f"{path.relative_to(folder)} holds a secret"))
        found += [
            Violation(6, f"a process list shows it: {line[:200]}")
            for line in lines
            if secret in line
        ]
        ids = [run.id for run in facts.runs.values()]
        for start in range(0, len(ids), 50):
            wanted = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=ids[start : start + 50])
            )
            for artifact in await prefect.read_artifacts(artifact_filter=wanted):
                if secret in json.dumps(artifact.data):
                    found.append(Violation(6, f"artifact {artifact.key} holds a secret"))
    return found


def outside(user: Path, temporary: Path, folder: Path) -> Iterator[Violation]:
    """7: nothing was written where the stack has no business, nothing is left in between."""
    for path in user.rglob("*"):
        if path.is_file():
            yield Violation(7, f"written into the user's home: {path.relative_to(user)}")
    for path in temporary.iterdir():
        yield Violation(7, f"left in the temporary folder: {path.name}")
    expected = {"home", "book", "tmp", "user", "sockets", "planted", "up.log", "others.log"}
    for path in folder.iterdir():
        if path.name not in expected:
            yield Violation(7, f"written beside the home: {path.name}")


def lags(changes: Iterable[Change], stamps: dict[tuple[str, str], float]) -> list[float]:
    """Seconds from a state to its row, where both are known."""
    return [
        one.at - stamps[one.task_id, one.new] for one in changes if (one.task_id, one.new) in stamps
    ]


def statuses_of(rows: Rows) -> dict[str, str]:
    """The rows as they stand."""
    return rows.statuses()


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _holds(path: Path, needle: bytes) -> bool:
    tail = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if needle in tail + chunk:
                    return True
                tail = chunk[-len(needle) :]
    except OSError:
        return False
    return False
