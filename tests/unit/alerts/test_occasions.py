"""What there is to tell of a run, by its state, and what the settings say by default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Late,
    Running,
    Scheduled,
)
from pydantic import ValidationError

from vibesurf_blocks.alerts.message import Subject
from vibesurf_blocks.alerts.rules import Alerts, Occasion, default_alerts
from vibesurf_blocks.alerts.watch import occasion_of
from vibesurf_blocks.settings import Settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "occasion"),
    [
        (Completed(), Occasion.COMPLETED),
        (Failed(), Occasion.FAILED),
        (Crashed(), Occasion.FAILED),
        (Cancelled(), Occasion.STOPPED),
        (Cancelled(name="Skipped"), Occasion.SKIPPED),
        (Running(), None),
        (Scheduled(scheduled_time=NOON - timedelta(seconds=59)), None),
        (Late(scheduled_time=NOON - timedelta(seconds=61)), Occasion.WAITING),
        (Scheduled(scheduled_time=NOON + timedelta(days=1)), None),
    ],
)
def test_the_state_says_what_there_is_to_tell(state: State[Any], occasion: Occasion | None) -> None:
    run = FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=state,
        next_scheduled_start_time=state.state_details.scheduled_time,
    )
    rules = Alerts(webhook="ops", wait_seconds=60)
    assert occasion_of(run, rules, NOON) is occasion


@pytest.mark.parametrize(("seconds", "occasion"), [(59, None), (61, Occasion.WAITING)])
def test_a_run_that_is_recovered_waits_only_since_then(
    seconds: float, occasion: Occasion | None
) -> None:
    asked = NOON - timedelta(days=1)
    state: State[Any] = AwaitingRetry(scheduled_time=asked)
    state.timestamp = NOON - timedelta(seconds=seconds)
    run = FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=state,
        expected_start_time=asked,
        next_scheduled_start_time=asked,
        start_time=asked,
    )
    assert occasion_of(run, Alerts(webhook="ops", wait_seconds=60), NOON) is occasion


def test_the_settings_name_webhook_and_occasions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_alerts(Settings()) is None
    monkeypatch.setenv("VIBESURF_ALERT_WEBHOOK", "ops")
    monkeypatch.setenv("VIBESURF_ALERT_ON", "failed, waiting,")
    monkeypatch.setenv("VIBESURF_ALERT_BLOCKS", "slack-webhook/ops, sendgrid-email/me")
    settings = Settings()
    assert settings.alert_blocks == ("slack-webhook/ops", "sendgrid-email/me")
    rules = default_alerts(settings)
    assert rules is not None
    assert rules.on == (Occasion.FAILED, Occasion.WAITING)
    assert rules.webhook == "ops"
    monkeypatch.setenv("VIBESURF_ALERT_ON", "sometimes")
    with pytest.raises(ValidationError, match="Input should be 'completed'"):
        Settings()


@pytest.mark.parametrize(
    "wrong", [{"on": ["done"]}, {"blocks": ["slack"]}, {"webhook": ""}, {"url": "http://a"}]
)
def test_rules_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Alerts.model_validate(wrong)


@pytest.mark.parametrize("occasion", list(Occasion))
def test_every_occasion_reads_as_a_sentence(occasion: Occasion) -> None:
    subject = Subject(occasion=occasion, kind="batch", run_id="x", name="ünï", at=NOON)
    assert subject.title.startswith(("The batch ünï ", "A step of the batch ünï "))
    assert subject.payload("msg_x")["type"] == f"batch.{occasion}"
