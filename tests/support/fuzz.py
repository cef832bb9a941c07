"""Sends the REST API what its OpenAPI document allows, what it forbids, and what is no HTTP sense.

Every answer must be one that the document tells of, never a 5xx, and in time. What was refused must
have left nothing: no run in Prefect, no row, no session's folder, no file beside the home.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.stack import LiveStack
from tests.support.tasks import end_all

SECONDS = 60.0
"""Seconds an answer may take: twice as long as the API waits for an agent."""

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
_RAW_SHARE = 4
_SLOW_SECONDS = 0.2
_BUSY_TRIES = 3  # a machine that does much else may keep Prefect from answering in time
_KINDS = ["application/json", "text/plain", "application/x-www-form-urlencoded", "", "a/b; c"]
_HEADERS = [
    "Origin",
    "Host",
    "Idempotency-Key",
    "Last-Event-ID",
    "Authorization",
    "X-Forwarded-For",
    "Accept-Encoding",
    "Range",
    "If-Match",
    "X-HTTP-Method-Override",
    "Content-Encoding",
]
_text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_bodies = st.one_of(
    st.none(),
    st.binary(max_size=200),
    _json.map(lambda value: json.dumps(value).encode()),
    _json.map(lambda value: json.dumps(value).encode()[:-1]),
    st.integers(1, 5_000).map(lambda depth: b"[" * depth),
    st.integers(1, 400_000).map(lambda size: b'{"reason": "' + b"x" * size + b'"}'),
)


@dataclass
class Tally:
    """What was sent and what came of it.

    Attributes:
        answers: How many answers of each status a route gave.
        problems: What was wrong, in full.
        made: Ids that an accepting answer named.
        batches: How many batches were accepted.
        schedules: What the schedules that were accepted name.
        sessions: Sessions of accepted requests, and of the tasks of accepted schedules.
        slowest: Seconds of the answer that took longest.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    batches: int = 0
    schedules: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    slowest: float = 0.0

    @property
    def sent(self) -> int:
        """Requests that were sent."""
        return self.answers.total()

    def table(self) -> str:
        """Requests by route and class of status."""
        classes = sorted({status // 100 for _, status in self.answers})
        lines = [f"{'route':<44}" + "".join(f"{one}xx".rjust(7) for one in classes)]
        for route in sorted({route for route, _ in self.answers}):
            counts = [
                sum(n for (r, s), n in self.answers.items() if r == route and s // 100 == one)
                for one in classes
            ]
            lines.append(f"{route:<44}" + "".join(str(count).rjust(7) for count in counts))
        statuses = Counter[int]()
        for (_, status), count in self.answers.items():
            statuses[status] += count
        lines.append(f"{self.sent} requests, slowest {self.slowest:.2f} s: {dict(statuses)}")
        return "\n".join(lines)


def fuzz(stack: LiveStack, count: int, number: int, known: list[str]) -> Tally:
    """Send so many requests.

    Args:
        stack: The stack whose API is asked.
        count: Requests, at the least.
        number: Seed: the same one sends the same requests to the same API.
        known: Ids of tasks, to be named now and then.
    """
    tally = Tally()
    with requests.Session() as session:
        session.trust_env = False
        schema = schemathesis.openapi.from_url(f"{stack.api}/openapi.json")
        operations = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
        routes = [(one.method.upper(), one.path) for one in operations]
        slow: set[str] = set()
        turn = 0
        while tally.sent < count:
            # In rounds: the first few find what is slow, of which the later ones have less.
            left = count - tally.sent
            each = max(1, min(left, 40 * len(operations)) // (2 * len(operations)))
            for operation in random.Random(number + turn).sample(operations, len(operations)):
                begun, sent = time.monotonic(), tally.sent
                for mode in GenerationMode:
                    turn += 1
                    some = max(1, each // 6) if operation.label in slow else each
                    _described(session, operation, mode, known, tally, some, number + turn)
                if time.monotonic() - begun > _SLOW_SECONDS * max(1, tally.sent - sent):
                    slow.add(operation.label)
            turn += 1
            some = max(4, (tally.sent - (count - left)) // _RAW_SHARE)
            _raw(session, stack.api, routes, known, tally, some, number + turn)
    return tally


def _described(
    session: requests.Session,
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    known: list[str],
    tally: Tally,
    count: int,
    number: int,
) -> None:
    """Send what the document allows, or forbids, for one operation."""
    route = f"{operation.method.upper()} {operation.path}"

    def send(case: schemathesis.Case[Any], task_id: str | None) -> None:
        for name in ("task_id", "batch_id"):
            if task_id is not None and name in (case.path_parameters or {}):
                case.path_parameters[name] = task_id
        try:
            for _ in range(_BUSY_TRIES):
                answer = case.call(session=session, timeout=SECONDS)
                if answer.status_code != requests.codes.service_unavailable:
                    break
        except requests.exceptions.Timeout:
            tally.problems.append(
                f"{route}: no answer within {SECONDS} s\n{case.as_curl_command()}"
            )
            return
        except (requests.exceptions.RequestException, UnicodeError, ValueError) as error:
            if "Connection" in type(error).__name__:
                tally.problems.append(f"{route}: {error!r}")
            return  # what cannot be sent over HTTP at all
        tally.answers[route, answer.status_code] += 1
        tally.slowest = max(tally.slowest, answer.elapsed)
        _note(tally, answer.status_code, answer.content, case.body)
        try:
            # The schema of a stream is that of its text; schemathesis takes it for each event's.
            stream = "text/event-stream" in str(answer.headers.get("content-type"))
            case.validate_response(answer, checks=_CHECKS[:3] if stream else _CHECKS)
        except (AssertionError, BaseExceptionGroup) as failure:
            tally.problems.append(f"{route}: {failure}")
        except schemathesis.errors.SchemathesisError as failure:
            tally.problems.append(f"{route}: {failure}")

    ids = st.none() | st.sampled_from(known) if known else st.none()
    strategy = operation.as_strategy(generation_mode=mode)
    _try(lambda: given(strategy, ids)(send), count, number)


def _raw(
    session: requests.Session,
    url: str,
    routes: list[tuple[str, str]],
    known: list[str],
    tally: Tally,
    count: int,
    number: int,
) -> None:
    """Send any method, headers and bytes to any route."""
    ids = st.sampled_from([*known, "none", "..", "%2e%2e", "\x00", "a/b", "💥", "x" * 300])

    def send(
        route: tuple[str, str], method: str, named: str, kind: str, more: dict[str, str], body: Any
    ) -> None:
        path = route[1]
        for name in ("task_id", "batch_id", "flow_id", "name"):
            path = path.replace(f"{{{name}}}", quote(named, safe="%"))
        headers = {"Content-Type": kind, **more} if kind else more
        try:
            answer = session.request(
                method,
                f"{url}{path}",
                data=body,
                headers={name: value.encode("latin-1") for name, value in headers.items()},
                timeout=SECONDS,
                allow_redirects=False,
            )
        except requests.exceptions.Timeout:
            tally.problems.append(f"{method} {path}: no answer within {SECONDS} s")
            return
        except (requests.exceptions.InvalidHeader, UnicodeError, ValueError):
            return
        shown = f"{method} {route[1]} (raw)" if (method, route[1]) in routes else "other (raw)"
        tally.answers[shown, answer.status_code] += 1
        tally.slowest = max(tally.slowest, answer.elapsed.total_seconds())
        _note(tally, answer.status_code, answer.content, None)
        if answer.status_code >= requests.codes.server_error:
            tally.problems.append(
                f"{method} {path} {headers} {body!r:.300}: {answer.status_code} {answer.text:.300}"
            )
        elif answer.status_code >= requests.codes.bad_request and method != "HEAD":
            try:
                assert answer.json()["detail"]
            except (ValueError, KeyError, AssertionError, TypeError):
                tally.problems.append(
                    f"{method} {path} {headers} {body!r:.300}: {answer.status_code} tells nothing"
                )

    strategy = given(
        st.sampled_from(routes),
        st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
        ids,
        st.sampled_from(_KINDS),
        st.dictionaries(st.sampled_from(_HEADERS), _text, max_size=2),
        _bodies,
    )
    _try(lambda: strategy(send), count, number)


def _try(make: Callable[[], Callable[[], None]], count: int, number: int) -> None:
    test = settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(seed(number)(make()))
    try:
        test()
    except Unsatisfiable:
        pass  # nothing could be forbidden: the operation takes anything
    except schemathesis.errors.SchemathesisError:
        pass  # likewise, as schemathesis says it


def _note(tally: Tally, status: int, content: bytes, asked: object) -> None:
    """Note what an accepting answer made, or will make, of the body that was asked with."""
    if status != requests.codes.ok or not content.startswith(b"{"):
        return
    said = json.loads(content)
    if said.get("success") and ("task_id" in said or "batch_id" in said):
        tally.made.add(said.get("task_id") or said["batch_id"])
        tally.sessions.add(said["session_id"])
        if "batch_id" in said:
            tally.batches += 1
            tally.sessions |= _sessions_of_items(asked, str(said["session_id"]))
    elif "cron_expression" in said and "execution_count" in said:
        tally.schedules.add(said["flow_id"])
        # It may fire while others are sent, and its task has the session that was asked for.
        task = asked.get("task") if isinstance(asked, dict) else None
        if isinstance(task, dict):
            tally.sessions.add(str(task.get("session_id")))


def _sessions_of_items(asked: object, session_id: str) -> set[str]:
    """The sessions that the items of a batch may get: their own, or those of parallel items."""
    items = asked.get("items") if isinstance(asked, dict) else None
    if not isinstance(items, list):
        return set()
    named = {
        str(one["session_id"]) for one in items if isinstance(one, dict) and "session_id" in one
    }
    return named | {f"{session_id[:240]}-{number}" for number in range(1, len(items) + 1)}


@dataclass(frozen=True)
class Footprint:
    """What is there: files beside the home, sessions in the workspace, runs, rows, schedules."""

    beside: frozenset[str]
    sessions: frozenset[str]
    runs: frozenset[str]
    rows: frozenset[str]
    schedules: frozenset[str]
    deployments: frozenset[UUID]

    @classmethod
    async def of(cls, stack: LiveStack) -> Footprint:
        """Look at a stack's folders, its Prefect server and its tables."""
        workspace = stack.home / "workspace"
        folders = list(workspace.iterdir()) if workspace.is_dir() else []
        async with stack.prefect() as prefect, stack.http() as api:
            runs: list[str] = []
            while page := await prefect.read_flow_runs(limit=200, offset=len(runs)):
                runs += [str(run.id) for run in page if run.parent_task_run_id is None]
                if len(page) < 200:
                    break
            rows: list[str] = []
            cursor = None
            while True:
                given = {"limit": 500, **({"cursor": cursor} if cursor else {})}
                said = (await api.get("/tasks", params=given)).json()
                rows += [row["task_id"] for row in said["tasks"]]
                if (cursor := said["next_cursor"]) is None:
                    break
            schedules = [one["flow_id"] for one in (await api.get("/schedule")).json()]
            deployments = [one.id for one in await prefect.read_deployments(limit=200)]
        return cls(
            frozenset(str(one) for one in stack.home.parent.iterdir()),
            frozenset(one.name for one in folders if not one.name.startswith(".")),
            frozenset(runs),
            frozenset(rows),
            frozenset(schedules),
            frozenset(deployments),
        )


async def fuzz_and_compare(stack: LiveStack, count: int, number: int) -> Tally:
    """Send so many requests, and see that what was refused left nothing; what was made is ended.

    Raises:
        AssertionError: An answer was wrong, or something is there that no answer told of.
    """
    before = await Footprint.of(stack)
    tally = await asyncio.to_thread(fuzz, stack, count, number, sorted(before.rows)[:5])
    await end_all(stack)
    after = await Footprint.of(stack)
    async with stack.http() as api, stack.prefect() as prefect:
        for one in after.schedules - before.schedules:
            await api.delete(f"/schedule/{quote(one, safe='')}")
        for made in after.deployments - before.deployments:
            await prefect.delete_deployment(made)
    assert not tally.problems, f"{tally.table()}\n" + "\n\n".join(tally.problems[:20])
    assert after.beside == before.beside
    unknown = after.sessions - before.sessions - tally.sessions
    assert not unknown, f"sessions that no answer told of: {unknown}\n{tally.table()}"
    unknown = after.schedules - before.schedules - tally.schedules
    assert not unknown, f"schedules that no answer told of: {unknown}\n{tally.table()}"
    if not tally.batches and not tally.schedules:  # whose parts nobody was told of
        assert after.runs - before.runs <= tally.made
        assert after.rows - before.rows <= tally.made
    return tally
