"""Creates the runs of submitted tasks, one at a time however many ask at once.

Prefect lets one of several simultaneous creates win when they carry the same idempotency key. Each
submitted run is created with the key "after the run submitted before it"; so the submitted runs
form a chain, and of all that want to follow the same ended run exactly one does. Whoever starts
from an older run walks along the chain, creating nothing, until it meets its end.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.prefect_api import queues
from vibesurf_blocks.prefect_api.labels import REQUEST
from vibesurf_blocks.prefect_api.runs import in_states, of_pool, unfinished_filter
from vibesurf_blocks.prefect_api.states import SLOT_STATES, holds_slot, is_suspended
from vibesurf_blocks.tasks import AGENT_DEPLOYMENT, AGENT_FLOW, Priority

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State
    from pydantic import JsonValue

SUBMITTED_TAG: Final = "submitted"
"""Tag of runs that were submitted through the REST API."""

ENQUEUED_TAG: Final = "enqueued"
"""Tag of runs that were submitted to wait for the slot; they are no part of the chain."""

_CHAIN_LIMIT = 1_000
_FIRST = 20
"""Of the unfinished runs so many are looked at: one that is due or runs is enough."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a submit needs to know beforehand.

    Attributes:
        active: The run that holds a slot or, with none, the oldest that is due; None if neither.
        worker_online: Whether any worker of the pool has sent a heartbeat in time.
        previous: The run that was submitted last, None before the first.
    """

    active: FlowRun | None
    worker_online: bool
    previous: FlowRun | None


@dataclass(frozen=True, slots=True)
class Submission:
    """How a submit went: the run it made or repeats, or the run that was first."""

    run: FlowRun
    accepted: bool


def digest(text: str) -> str:
    """A short name for a text that may be long or private."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Submitter:
    """Submits tasks to the standing deployment of the agent."""

    def __init__(self, client: PrefectClient, pool: str) -> None:
        self._client = client
        self._pool = pool
        self._deployment: UUID | None = None

    async def situation(self) -> Situation:
        """Read who has the slot and who could run a task, all at once."""
        now = datetime.now(UTC)
        in_slots = in_states(SLOT_STATES)
        loose, first, online, previous = await asyncio.gather(
            # Runs started without a pool hold a slot of the workspace all the same.
            self._client.read_flow_runs(flow_filter=_agent_flow(), flow_run_filter=in_slots),
            self._client.read_flow_runs(
                flow_run_filter=unfinished_filter(now),
                work_pool_filter=of_pool(self._pool),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=_FIRST,
            ),
            self._worker_online(),
            self.last(),
        )
        holders: list[FlowRun] = []
        if len(first) == _FIRST:  # one that holds a slot may be behind those that wait longer
            holders = await self._client.read_flow_runs(
                flow_run_filter=in_slots, work_pool_filter=of_pool(self._pool)
            )
        active = [run for run in (*first, *holders, *loose) if holds_slot(run.state)]
        active.sort(key=lambda run: (run.start_time or datetime.max.replace(tzinfo=UTC), run.id))
        active += [run for run in first if _is_due(run, now)]
        return Situation(next(iter(active), None), online, previous)

    async def _worker_online(self) -> bool:
        try:
            workers = await self._client.read_workers_for_work_pool(self._pool)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:  # the pool itself is missing
                return False
            raise
        return any(worker.status is WorkerStatus.ONLINE for worker in workers)

    async def last(self) -> FlowRun | None:
        """The run that was submitted last: the end of the chain, to which the next is linked."""
        return await self._newest(SUBMITTED_TAG)

    async def earlier(self, key: str) -> FlowRun | None:
        """The run that a request with this idempotency key made before, if any."""
        return await self._newest(_key_tag(key))

    async def submit(
        self,
        parameters: Mapping[str, JsonValue],
        *,
        previous: FlowRun | None,
        session_id: str,
        request: str,
        key: str | None,
        priority: Priority,
        tags: Sequence[str] = (),
    ) -> Submission:
        """Create a run unless another submitted one has not ended yet.

        Args:
            parameters: The parameters of the run.
            previous: The run submitted last, or any earlier one: the chain is walked from there.
            session_id: Begins the run's name.
            request: Digest of the body, kept with the run for repeated requests.
            key: The client's idempotency key, None where it gave none.
            priority: Where the run stands among others that wait, should it have to.
            tags: Further tags of the run.

        Raises:
            Unavailable: The standing deployment is missing.
        """
        tags = [SUBMITTED_TAG, *_key_tags(key), *tags]
        name = _name(session_id)
        for _ in range(_CHAIN_LIMIT):
            if previous is not None and not _gave_way(previous.state):
                return Submission(previous, accepted=False)
            run = await self._create(
                parameters,
                name=name,
                tags=tags,
                labels={REQUEST: request},
                once=f"submitted-after-{previous.id if previous is not None else 'nothing'}",
                priority=priority,
            )
            if run.name == name or made_by(run, key):
                return Submission(run, accepted=True)
            previous = run
        msg = "The submitted runs could not be followed to their end; try again."
        raise Unavailable(msg)

    async def enqueue(
        self,
        parameters: Mapping[str, JsonValue],
        *,
        session_id: str,
        request: str,
        key: str | None,
        priority: Priority,
        tags: Sequence[str] = (),
    ) -> FlowRun:
        """Create a run that waits for the slot; the arguments are those of `submit`.

        Returns:
            The run; with a key that was used before, the one that was made then.

        Raises:
            Unavailable: The standing deployment is missing.
        """
        return await self._create(
            parameters,
            name=_name(session_id),
            tags=[ENQUEUED_TAG, *_key_tags(key), *tags],
            labels={REQUEST: request},
            once=None if key is None else f"enqueued-{digest(key)}",
            priority=priority,
        )

    async def _create(
        self,
        parameters: Mapping[str, JsonValue],
        *,
        name: str,
        tags: list[str],
        labels: dict[str, str],
        once: str | None,
        priority: Priority,
    ) -> FlowRun:
        if priority is not Priority.NORMAL:
            # Prefect would make a queue that is missing behind all others.
            await queues.ensure(self._client, self._pool)
        for fresh in (False, True):
            if self._deployment is None or fresh:
                self._deployment = await self._find_deployment()
            try:
                return await self._client.create_flow_run_from_deployment(
                    self._deployment,
                    parameters=dict(parameters),
                    name=name,
                    tags=tags,
                    labels=dict(labels),
                    idempotency_key=once,
                    work_queue_name=(
                        None if priority is Priority.NORMAL else queues.QUEUES[priority]
                    ),
                )
            except ObjectNotFound:
                if fresh:
                    raise
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def _find_deployment(self) -> UUID:
        name = f"{AGENT_FLOW}/{AGENT_DEPLOYMENT}"
        try:
            return (await self._client.read_deployment_by_name(name)).id
        except ObjectNotFound as error:
            msg = (
                f"The deployment {name!r} is not on the Prefect server. Start "
                "`vibesurf-blocks up` once against it, or run `prefect deploy --all`."
            )
            raise Unavailable(msg) from error

    async def _newest(self, tag: str) -> FlowRun | None:
        runs = await self._client.read_flow_runs(
            flow_filter=_agent_flow(),
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=1,
        )
        return runs[0] if runs else None


def made_by(run: FlowRun, key: str | None) -> bool:
    """Whether a request with this idempotency key made the run."""
    return key is not None and _key_tag(key) in run.tags


def _name(session_id: str) -> str:
    return f"{session_id[:60]}-{secrets.token_hex(4)}"


def _is_due(run: FlowRun, moment: datetime) -> bool:
    """Whether a scheduled run may start by a moment; one that is retried may have to wait."""
    due = run.next_scheduled_start_time
    return run.state is not None and run.state.is_scheduled() and (due is None or due <= moment)


def _gave_way(state: State | None) -> bool:
    """Whether the next task may be submitted: the run has ended, or was suspended in the UI."""
    return state is not None and (state.is_final() or is_suspended(state))


def _agent_flow() -> FlowFilter:
    return FlowFilter(name=FlowFilterName(any_=[AGENT_FLOW]))


def _key_tags(key: str | None) -> list[str]:
    return [] if key is None else [_key_tag(key)]


def _key_tag(key: str) -> str:
    return f"request:{digest(key)}"
