"""A submit that fails says whether something was created, and creates nothing it cannot show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun

from vibesurf_blocks.api import control
from vibesurf_blocks.api import submit as module
from vibesurf_blocks.api.schemas import Accepted, SubmitRequest
from vibesurf_blocks.api.submit import submit
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.prefect_api.labels import REQUEST
from vibesurf_blocks.prefect_api.submissions import Situation, Submission
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database


class Parts:
    """What a submit works with; each part can be made to fail."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = Settings(home=tmp_path)
        self.database = Database(f"sqlite:///{tmp_path / 'tables.db'}")
        self.submitter = self.sync = self
        self.fails: dict[str, BaseException] = {}
        self.created: list[FlowRun] = []
        self.client = SimpleNamespace()

    async def situation(self) -> Situation:
        if "situation" in self.fails:
            raise self.fails["situation"]
        return Situation(None, worker_online=True, previous=None)

    async def submit(self, _: object, *, request: str, **__: object) -> Submission:
        run = FlowRun(id=uuid4(), flow_id=uuid4(), labels={REQUEST: request})
        self.created.append(run)
        if "create" in self.fails:
            raise self.fails["create"]
        return Submission(run, accepted=True)

    async def runs(self, _: object) -> None:
        if "row" in self.fails:
            raise self.fails["row"]

    async def ids(self, _: object) -> None:
        await self.runs(None)


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Any]:
    made = Parts(tmp_path)
    yield made
    await made.database.aclose()


BODY = SubmitRequest(task_description="Read it", session_id="s", llm_profile_name="builtin")


async def refusal(parts: Any) -> str:
    with pytest.raises(Unavailable) as caught:
        await submit(parts, BODY, None)
    return caught.value.message


async def test_nothing_is_created_where_the_row_could_not_be_written(parts: Any) -> None:
    async def gone() -> None:
        raise Unavailable("The tables are gone.")

    async def nothing() -> None: ...

    assert isinstance(await submit(parts, BODY, None), Accepted)
    parts.created.clear()
    await parts.database.aclose()
    parts.database = SimpleNamespace(check=gone, aclose=nothing)
    assert await refusal(parts) == "The tables are gone."
    assert parts.created == []


async def test_before_the_create_nothing_was_created(parts: Any) -> None:
    for error in (httpx.ReadTimeout("late"), TimeoutError(), httpx.ConnectError("no")):
        parts.fails = {"situation": error}
        assert "Nothing was created" in await refusal(parts)
    assert parts.created == []


async def test_a_create_without_an_answer_may_have_been_one(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.fails = {"create": httpx.ReadTimeout("late")}
    assert "did not say" in await refusal(parts)
    parts.fails = {"create": httpx.ConnectError("no")}
    assert "Nothing was created" in await refusal(parts)

    async def hangs(*_: object, **__: object) -> Submission:
        await asyncio.Event().wait()
        raise AssertionError

    async def answers() -> None: ...

    await parts.database.aclose()
    parts.database = SimpleNamespace(check=answers, aclose=answers)
    monkeypatch.setattr(module, "PREFECT_SECONDS", 0.3)
    parts.submitter = SimpleNamespace(submit=hangs)
    assert "did not say" in await refusal(parts)


async def test_what_was_created_is_said_to_be(parts: Any) -> None:
    parts.fails = {"row": Unavailable("The database is gone.")}
    said = await refusal(parts)
    assert f"{parts.created[-1].id} was created" in said


async def test_control_has_happened_whether_or_not_the_row_shows_it(parts: Any) -> None:
    parts.fails = {"row": TimeoutError()}
    await control._show(parts, uuid4())
