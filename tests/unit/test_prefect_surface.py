"""What this project uses of Prefect's server without a promise that it stays."""

from __future__ import annotations

import inspect
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import prefect.settings
import pytest
import sqlalchemy.exc
from fastapi.routing import APIRoute
from prefect.server.api import flow_runs
from prefect.server.api.block_types import read_block_documents_for_block_type
from prefect.server.api.server import create_app, custom_internal_exception_handler
from prefect.server.events.schemas import lifecycle
from prefect.server.schemas.core import BlockDocument
from prefect.workers.base import BaseJobConfiguration, BaseWorker
from starlette.requests import Request

from vibesurf_blocks.prefect_api.block_documents import DOCUMENT_EVENTS
from vibesurf_blocks.prefect_api.pruning import AT_ONCE
from vibesurf_blocks.stack.prefect_server import server_settings, sqlite_url
from vibesurf_blocks.stack.retry_busy import BUSY_BODY
from vibesurf_blocks.worker.configuration import VibesurfJobConfiguration


def settings(home: Path) -> dict[str, str]:
    return server_settings("127.0.0.1", 4321, sqlite_url(home), home)


def test_create_app_can_be_told_that_it_is_the_last() -> None:
    assert inspect.signature(create_app).parameters["final"].default is False


def test_the_worker_may_leave_out_the_submitting_state() -> None:
    assert inspect.iscoroutinefunction(BaseWorker._propose_submitting_state)
    parameters = inspect.signature(BaseWorker._propose_submitting_state).parameters
    assert list(parameters) == ["self", "flow_run"]


def test_the_worker_may_confirm_its_slot_between_claim_and_start() -> None:
    """Without that call no run would start here at all."""
    source = inspect.getsource(BaseWorker._submit_run_and_capture_errors)
    assert 0 < source.index("_give_worker_labels_to_flow_run") < source.index("self.run(")
    parameters = inspect.signature(BaseWorker._give_worker_labels_to_flow_run).parameters
    assert list(parameters) == ["self", "flow_run_id"]


@pytest.mark.parametrize("method", ["_get_scheduled_flow_runs", "get_and_submit_flow_runs"])
def test_the_worker_may_say_which_runs_are_to_be_claimed(method: str) -> None:
    assert inspect.iscoroutinefunction(getattr(BaseWorker, method))
    assert "_get_scheduled_flow_runs" in inspect.getsource(BaseWorker.get_and_submit_flow_runs)


def test_the_worker_may_know_the_environment_of_its_runs() -> None:
    kept = VibesurfJobConfiguration._base_environment()
    assert kept == BaseJobConfiguration._base_environment()
    kept["X"] = "changed by its owner"
    assert VibesurfJobConfiguration._base_environment() == BaseJobConfiguration._base_environment()
    with prefect.settings.temporary_settings(
        {prefect.settings.PREFECT_API_URL: "http://other/api"}
    ):
        other = VibesurfJobConfiguration._base_environment()
    assert other["PREFECT_API_URL"] == "http://other/api"


def test_block_documents_of_a_type_are_read_all_at_once() -> None:
    """`of_type` asks for no further page."""
    parameters = inspect.signature(read_block_documents_for_block_type).parameters
    assert not {"limit", "offset"} & parameters.keys()


@pytest.mark.parametrize("action", ["created", "updated", "deleted"])
def test_edited_blocks_are_told_by_events(action: str) -> None:
    """Without them rows of profiles would follow seconds later."""
    make = getattr(lifecycle, f"block_document_{action}_event")
    block = BlockDocument(name="x", data={}, block_schema_id=uuid4(), block_type_id=uuid4())
    event = make(block, datetime.now(UTC))
    assert event.event.startswith(DOCUMENT_EVENTS)


async def test_a_busy_sqlite_is_answered_as_retry_busy_expects() -> None:
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"
    error = sqlalchemy.exc.OperationalError("INSERT", {}, busy)
    answer = await custom_internal_exception_handler(Request({"type": "http"}), error)
    assert answer.status_code == 503
    assert answer.body == BUSY_BODY


@pytest.mark.parametrize("name", sorted(settings(Path("/home"))))
def test_prefect_knows_each_setting(name: str, tmp_path: Path) -> None:
    setting = getattr(prefect.settings, name)
    value = settings(tmp_path)[name]
    with prefect.settings.temporary_settings({setting: value}):
        known = setting.value()
    known = known.get_secret_value() if hasattr(known, "get_secret_value") else known
    assert str(known).lower() in {value.lower(), f"{value}.0"}


def test_flow_runs_are_deleted_in_bulk_by_a_filter() -> None:
    """The client has no method for it; the server's limit is ours."""
    parameters = inspect.signature(flow_runs.bulk_delete_flow_runs).parameters
    assert {"flow_runs", "limit"} <= parameters.keys()
    assert flow_runs.BULK_OPERATION_LIMIT == AT_ONCE
    assert any(
        route.path == "/flow_runs/bulk_delete" and "POST" in (route.methods or ())
        for route in flow_runs.router.routes
        if isinstance(route, APIRoute)
    )
