"""Notices what people are to be told of, in the runs that the mirror reads anyway.

The mirror misses no end of a run: what it did not hear of it finds when it reconciles, also what
happened while it was down. The alert is made before the row is written, under a key that follows
from the run's state: whoever is killed in between finds the run again and makes nothing twice.
While one could not be made, the mirror does not say that it has compared the rows so far.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.urls import url_for
from pydantic import ValidationError

from vibesurf_blocks.alerts.message import Kind, Subject, short
from vibesurf_blocks.alerts.raised import raise_alert
from vibesurf_blocks.alerts.rules import Alerts, Occasion, default_alerts
from vibesurf_blocks.prefect_api.deployments import SKIPPED
from vibesurf_blocks.prefect_api.labels import PARENT
from vibesurf_blocks.tasks import AGENT_FLOW, BATCH_FLOW, WORKFLOW_FLOW

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.settings import Settings

logger = logging.getLogger(__name__)

_KINDS: Final[dict[str, Kind]] = {
    AGENT_FLOW: "task",
    BATCH_FLOW: "batch",
    WORKFLOW_FLOW: "workflow",
}
_ENDS: Final = {
    StateType.COMPLETED: Occasion.COMPLETED,
    StateType.FAILED: Occasion.FAILED,
    StateType.CRASHED: Occasion.FAILED,
    StateType.CANCELLED: Occasion.STOPPED,
}
_REMEMBERED: Final = 10_000
_OLD: Final = timedelta(hours=12)
"""What happened longer ago is no news: a table that is rebuilt reads every run there is."""


class AlertWatch:
    """Looks at runs as they are read, and raises the alerts they ask for."""

    def __init__(self, client: PrefectClient, settings: Settings) -> None:
        self._client = client
        self._default = default_alerts(settings)
        self._raised: dict[str, None] = {}
        self._owed: dict[str, tuple[Subject, Alerts]] = {}

    @property
    def owing(self) -> bool:
        """Whether an alert could not be raised yet."""
        return bool(self._owed)

    async def saw(self, runs: Iterable[tuple[FlowRun, str]]) -> None:
        """Look at runs, each with the name of its flow; raise what is to be raised.

        An alert that cannot be raised now is tried again with the next look.
        """
        now = datetime.now(UTC)
        for run, flow in runs:
            rules = self._rules(run, flow)
            if rules is not None and rules.anywhere:
                try:
                    self._look(run, _KINDS[flow], rules, now)
                except Exception as error:  # noqa: BLE001 - it concerns no other run
                    logger.warning("Of the run %s nothing can be told: %r", run.id, error)
        for key, (subject, rules) in list(self._owed.items()):
            try:
                await raise_alert(self._client, key, subject, rules)
            except PrefectHTTPStatusError as error:
                if error.response.is_server_error:
                    return
                # It will not be taken the next time either, and must not hold up the others.
                logger.warning("An alert about %s was refused: %s", subject.run_id, error)
            except Exception as error:  # noqa: BLE001 - rows do not wait for alerts
                logger.warning("An alert about %s was not raised yet: %r", subject.run_id, error)
                return
            del self._owed[key]
            self._remember(key)

    def _look(self, run: FlowRun, kind: Kind, rules: Alerts, now: datetime) -> None:
        occasion = occasion_of(run, rules, now)
        if occasion is None or occasion not in rules.on or run.state is None:
            return
        state = run.state
        if now - state.timestamp > _OLD and occasion is not Occasion.WAITING:
            return
        waiting = occasion is Occasion.WAITING
        key = f"{run.id}-{'waiting' if waiting else state.id}"
        if key not in self._raised:
            about = run.parameters.get("task_description")
            session = run.parameters.get("session_id")
            subject = Subject(
                occasion=occasion,
                kind=kind,
                run_id=str(run.id),
                name=run.name,
                session_id=session if isinstance(session, str) else None,
                about=short(about) if isinstance(about, str) else None,
                message=short(state.message) if state.message else None,
                at=now if waiting else state.timestamp,
                url=url_for(run),
            )
            self._owed[key] = (subject, rules)

    def _rules(self, run: FlowRun, flow: str) -> Alerts | None:
        if flow not in _KINDS:
            return None
        given = run.parameters.get("alerts")
        if given is not None:
            try:
                return Alerts.model_validate(given)
            except ValidationError:
                return None  # such a run fails by itself
        # A part of something larger: that is what people are told of.
        return None if PARENT in run.labels else self._default

    def _remember(self, key: str) -> None:
        if len(self._raised) >= _REMEMBERED:
            self._raised.clear()  # the key on the server still keeps it from being made twice
        self._raised[key] = None


def occasion_of(run: FlowRun, rules: Alerts, now: datetime) -> Occasion | None:
    """What there is to tell of a run as it is, None where there is nothing."""
    state = run.state
    if state is None:
        return None
    if state.is_cancelled() and state.name == SKIPPED:
        return Occasion.SKIPPED
    if state.is_scheduled():
        due: datetime | None = run.next_scheduled_start_time or run.expected_start_time
        if due is not None and run.start_time is not None:
            # To be run again it keeps its place in the queue, but waits only since then.
            due = max(due, state.timestamp)
        waited = (now - due).total_seconds() if due is not None else 0.0
        return Occasion.WAITING if waited > rules.wait_seconds else None
    return _ENDS.get(state.type)
