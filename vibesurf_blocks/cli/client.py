"""The REST API as commands use it: an answer, or a failure that says what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from vibesurf_blocks.cli.failure import NOT_DONE, USAGE, Failure
from vibesurf_blocks.settings import Settings

Json = dict[str, Any]

SECONDS: Final = 60.0
"""Seconds an answer may take: longer than the API waits for an agent."""

_SILENCE_SECONDS: Final = 45.0
"""Seconds of a stream without even a heartbeat after which it is dead."""

_PATIENCE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.3
_USAGE_STATUSES: Final = {
    httpx.codes.UNAUTHORIZED,
    httpx.codes.FORBIDDEN,
    httpx.codes.UNPROCESSABLE_ENTITY,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task.

    Attributes:
        kind: state, step, acknowledgement or end.
        data: What is told of it.
        id: To go on after it.
    """

    kind: str
    data: Json
    id: str


class Api:
    """A connection to the API at an address; to be used as a context manager.

    Sends the token of the settings, where they have one.
    """

    def __init__(self, url: str, *, seconds: float = SECONDS) -> None:
        self._url = url
        token = Settings().token
        # Loopback needs no proxy, and reading the certificates takes longer than most commands.
        self._client = httpx.Client(
            base_url=url,
            timeout=seconds,
            trust_env=False,
            verify=url.startswith("https:"),
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str, **params: object) -> Any:  # noqa: ANN401 - JSON of any shape
        """Read something; parameters that are None are left out.

        Raises:
            Failure: The API does not answer, or refuses.
        """
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, object], *, key: str | None = None) -> Any:  # noqa: ANN401
        """Ask for something; with a key the same request may be repeated.

        Raises:
            Failure: The API does not answer, or refuses.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        try:
            return self._ask("POST", path, json=body, headers=headers)
        except Failure as failure:
            if key is None or not isinstance(failure.__cause__, httpx.RemoteProtocolError):
                raise
            return self._ask("POST", path, json=body, headers=headers)  # the answer was lost

    def put(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401
        """Change something.

        Raises:
            Failure: The API does not answer, or refuses.
        """
        return self._ask("PUT", path, json=body)

    def delete(self, path: str) -> Any:  # noqa: ANN401
        """Delete something.

        Raises:
            Failure: The API does not answer, or refuses.
        """
        return self._ask("DELETE", path)

    def follow(self, task_id: str, after: str | None = None) -> Iterator[Event]:
        """What happens to a task, to its end; lost connections are taken up where they broke.

        Args:
            task_id: The task.
            after: Id of the last event that is known, None to begin with the first.

        Raises:
            Failure: There is no such task or event, or the API stays away for a minute.
        """
        lost: float | None = None
        seconds = httpx.Timeout(10.0, read=_SILENCE_SECONDS)
        while True:
            headers = {} if after is None else {"Last-Event-ID": after}
            try:
                with self._client.stream(
                    "GET", path("tasks", task_id, "events"), headers=headers, timeout=seconds
                ) as answer:
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return
                    if answer.is_success:
                        for event in _events(answer.iter_lines()):
                            lost, after = None, event.id
                            yield event
                            if event.kind == "end":
                                return
                    elif answer.is_client_error:
                        answer.read()
                        raise _refusal(answer)
            except httpx.TransportError:
                pass  # it may be started again this moment
            now = time.monotonic()
            lost = lost or now
            if now - lost > _PATIENCE_SECONDS:
                msg = f"The API at {self._url} stopped answering; the task goes on without it."
                raise Failure(msg)
            time.sleep(_PAUSE_SECONDS)

    def _ask(self, method: str, path: str, **given: Any) -> Any:  # noqa: ANN401
        try:
            answer = self._client.request(method, path, **given)
        except httpx.TimeoutException as error:
            msg = f"The API at {self._url} took too long to answer; see what came of it."
            raise Failure(msg) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = (
                f"No API answers at {self._url} ({error}). Is it running? Start it with "
                "`vibesurf-blocks up`, or set VIBESURF_API_URL."
            )
            raise Failure(msg) from error
        if not answer.is_success:
            raise _refusal(answer)
        try:
            return answer.json()
        except ValueError as error:
            msg = f"What answers at {self._url} is not this API; see VIBESURF_API_URL."
            raise Failure(msg) from error


def path(*parts: str) -> str:
    """A path of these parts, each quoted but for slashes, as deployments have them in names."""
    return "".join(f"/{quote(part, safe='/')}" for part in parts)


def _refusal(answer: httpx.Response) -> Failure:
    code = USAGE if answer.status_code in _USAGE_STATUSES else NOT_DONE
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return Failure(f"The API answered with status {answer.status_code}.", USAGE)
    if isinstance(detail, str):
        return Failure(detail, code)
    return Failure("; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in detail), code)


def _place(loc: list[object]) -> str:
    return ".".join(str(part) for part in loc[1:]) or str(loc[0])


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """Read a stream of server-sent events, as the API writes them."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if name and colon:
            fields[name] = value
        elif not line:
            if "data" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields["id"])
            fields = {}
