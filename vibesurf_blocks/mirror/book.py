"""The rows that the schedules of all deployments ought to have, kept as deployments come and go.

What a change costs depends on what changed, not on how many deployments there are.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from prefect.client.schemas.schedules import CronSchedule

from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.deployments import Executions, Spelling
from vibesurf_blocks.prefect_api.firing import next_firing
from vibesurf_blocks.schedules.cron import CRON_LIMIT
from vibesurf_blocks.tables.records import ScheduleRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse

_FLOW_ID_LIMIT = 255

_LEAST_TIMES: Final = 100
"""Times kept for deployments at the least before those that no longer hold are cleared away."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


def records_of(
    deployment: DeploymentResponse,
    flow: str,
    done: Mapping[UUID, Executions],
    now: datetime,
) -> list[ScheduleRecord]:
    """The rows of a deployment's schedules.

    The schedule made by REST goes by the `flow_id` its client used. The others go by
    `flow/deployment`: the oldest, where none was made by REST, by that alone, and each further one
    with `#` and its slug or id after it.

    Args:
        deployment: As it is now.
        flow: Name of its flow.
        done: What came of its schedules so far; none for one that is not in it.
        now: The next time is later than this.
    """
    path = f"{flow}/{deployment.name}"
    made = prefect_deployments.rest_schedule(deployment)
    ordered = prefect_deployments.in_order(deployment)
    records = []
    for one in ordered:
        if one is made:
            spelled = {
                Spelling.ID: str(deployment.id),
                Spelling.PATH: path,
                Spelling.NAME: deployment.name,
            }
            flow_id = spelled[Spelling(str(one.slug))]
        elif made is None and one is ordered[0]:
            flow_id = path
        else:
            flow_id = f"{path}#{one.slug or one.id}"
        if len(flow_id) > _FLOW_ID_LIMIT:
            flow_id = str(one.id)
        records.append(_record(deployment, one, flow_id, done.get(one.id, Executions()), now))
    return records


def _record(
    deployment: DeploymentResponse,
    one: DeploymentSchedule,
    flow_id: str,
    done: Executions,
    now: datetime,
) -> ScheduleRecord:
    enabled = one.active and not deployment.paused
    cron = one.schedule.cron if isinstance(one.schedule, CronSchedule) else None
    created = one.created or deployment.created or now
    return ScheduleRecord(
        id=str(one.id),
        flow_id=flow_id,
        cron_expression=cron if cron is not None and len(cron) <= CRON_LIMIT else None,
        is_enabled=enabled,
        description=deployment.description or None,
        last_execution_at=done.last,
        next_execution_at=next_firing(one.schedule, now) if enabled else None,
        execution_count=done.count,
        created_at=created,
        updated_at=max(one.updated or created, deployment.updated or created),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A deployment as it was put in, and what its rows say, by the names that it wants."""

    deployment: DeploymentResponse
    flow: str
    signature: tuple[object, ...]
    records: tuple[ScheduleRecord, ...]
    due: datetime | None

    @property
    def names(self) -> set[str]:
        """The names that its schedules want to go by."""
        return {one.flow_id for one in self.records}

    @property
    def age(self) -> tuple[datetime, str]:
        """Of two that go by one name, the lesser has it."""
        return self.deployment.created or _EARLIEST, str(self.deployment.id)


class ScheduleBook:
    """The deployments that have schedules, and their rows."""

    def __init__(self) -> None:
        self._entries: dict[UUID, _Entry] = {}
        self._owners: dict[UUID, UUID] = {}
        self._named: dict[str, set[UUID]] = {}
        self._due: list[tuple[datetime, UUID]] = []

    def deployment(self, deployment_id: UUID) -> DeploymentResponse | None:
        """The deployment as it was put in last; None where it has no schedules."""
        entry = self._entries.get(deployment_id)
        return None if entry is None else entry.deployment

    def owner(self, schedule_id: UUID) -> UUID | None:
        """The deployment of a schedule."""
        return self._owners.get(schedule_id)

    def schedules(self) -> set[str]:
        """Ids of all schedules, as their rows have them."""
        return {str(one) for one in self._owners}

    def differs(self, deployment: DeploymentResponse) -> bool:
        """Whether a deployment says something else of its schedules than when it was put in."""
        entry = self._entries.get(deployment.id)
        if entry is None:
            return bool(deployment.schedules)
        return entry.signature != _signature(deployment)

    def put(
        self,
        deployment: DeploymentResponse,
        flow: str,
        done: Mapping[UUID, Executions],
        now: datetime,
    ) -> set[UUID]:
        """Put a deployment in as it is now; one without schedules goes.

        Args:
            deployment: As it is now.
            flow: Name of its flow.
            done: What came of its schedules so far.
            now: The next times are later than this.

        Returns:
            The deployments whose rows may be others now: this, and those of the same names.
        """
        records = tuple(records_of(deployment, flow, done, now))
        times = [one.next_execution_at for one in records if one.next_execution_at is not None]
        due = min(times, default=None)
        entry = _Entry(deployment, flow, _signature(deployment), records, due)
        touched = {deployment.id, *self._take(deployment.id)}
        if records:
            touched |= self._give(deployment.id, entry)
        return touched

    def again(
        self, deployment_id: UUID, done: Mapping[UUID, Executions], now: datetime
    ) -> set[UUID]:
        """Put a deployment in as it was, as of `now`; see `put`."""
        entry = self._entries.get(deployment_id)
        return set() if entry is None else self.put(entry.deployment, entry.flow, done, now)

    def overtaken(self, now: datetime) -> set[UUID]:
        """The deployments with a next time that has passed; each is told of once."""
        found = set()
        while self._due and self._due[0][0] <= now:
            due, deployment_id = heapq.heappop(self._due)
            if self._holds(due, deployment_id):
                found.add(deployment_id)
        return found

    def rows(self, deployment_id: UUID) -> list[ScheduleRecord]:
        """The rows of a deployment; one whose name belongs to an older one goes by its id."""
        entry = self._entries.get(deployment_id)
        if entry is None:
            return []
        return [
            one
            if self._has(one.flow_id) == deployment_id
            else one.model_copy(update={"flow_id": one.id})
            for one in entry.records
        ]

    def _has(self, name: str) -> UUID:
        return min(self._named[name], key=lambda one: self._entries[one].age)

    def _take(self, deployment_id: UUID) -> set[UUID]:
        """Take a deployment out; those that its names may go to."""
        entry = self._entries.pop(deployment_id, None)
        touched: set[UUID] = set()
        if entry is None:
            return touched
        for schedule in entry.deployment.schedules:
            self._owners.pop(schedule.id, None)
        for name in entry.names:
            named = self._named[name]
            named.discard(deployment_id)
            touched |= named
            if not named:
                del self._named[name]
        return touched

    def _give(self, deployment_id: UUID, entry: _Entry) -> set[UUID]:
        """Put an entry in; those that go by its names."""
        self._entries[deployment_id] = entry
        self._owners |= dict.fromkeys((one.id for one in entry.deployment.schedules), deployment_id)
        touched: set[UUID] = set()
        for name in entry.names:
            named = self._named.setdefault(name, set())
            named.add(deployment_id)
            touched |= named
        if entry.due is not None:
            heapq.heappush(self._due, (entry.due, deployment_id))
            if len(self._due) > _LEAST_TIMES + 2 * len(self._entries):
                self._due = [one for one in set(self._due) if self._holds(*one)]
                heapq.heapify(self._due)
        return touched

    def _holds(self, due: datetime, deployment_id: UUID) -> bool:
        entry = self._entries.get(deployment_id)
        return entry is not None and entry.due == due


def _signature(deployment: DeploymentResponse) -> tuple[object, ...]:
    return (
        deployment.updated,
        deployment.paused,
        *(
            (one.id, one.updated, one.active, one.slug)
            for one in prefect_deployments.in_order(deployment)
        ),
    )
