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
_MOST_PAUSE_SECONDS: Final = 30.0
_USAGE_STATUSES: Final = {
    httpx.codes.UNAUTHORIZED,
    httpx.codes.FORBIDDEN,
    httpx.codes.METHOD_NOT_ALLOWED,
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.UNPROCESSABLE_ENTITY,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.SERVICE_UNAVAILABLE,
}


_NO_ROUTE: Final = "Not Found"
"""What this API, as others, says of a route that it has not; of anything else it says more."""

_NO_TEXT: Final = "What was given is no text in UTF-8."

_SUBMITS: Final = ("/tasks/submit", "/tasks/batch")
"""Routes that name nothing which might be missing."""


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
        """Prepare a connection; none is opened yet.

        Raises:
            Failure: The address is none.
        """
        self._url = url
        token = Settings().token
        # Loopback needs no proxy, and reading the certificates takes longer than most commands.
        try:
            self._client = httpx.Client(
                base_url=url,
                timeout=seconds,
                trust_env=False,
                verify=url.startswith("https:"),
                headers={} if token is None else {"Authorization": f"Bearer {token}"},
            )
        except httpx.InvalidURL as error:
            msg = f"{url!r} is no address of an API ({error}); see VIBESURF_API_URL."
            raise Failure(msg) from error

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
            pause = _PAUSE_SECONDS
            try:
                with self._client.stream(
                    "GET", path("tasks", task_id, "events"), headers=headers, timeout=seconds
                ) as answer:
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return
                    if answer.is_success:
                        lost = None
                        for event in _events(answer.iter_lines()):
                            after = event.id
                            yield event
                            if event.kind == "end":
                                return
                    elif answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                        lost, pause = None, _retry_after(answer)  # it is there, and busy
                    elif answer.is_client_error:
                        answer.read()
                        raise _refusal(answer)
            except httpx.TransportError:
                pass  # it may be started again this moment
            except UnicodeEncodeError as error:
                raise Failure(_NO_TEXT) from error
            now = time.monotonic()
            lost = lost or now
            if now - lost > _PATIENCE_SECONDS:
                msg = f"The API at {self._url} stopped answering; the task goes on without it."
                raise Failure(msg)
            time.sleep(pause)

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
        except UnicodeEncodeError as error:
            raise Failure(_NO_TEXT) from error
        if not answer.is_success:
            raise _refusal(answer)
        try:
            return answer.json()
        except ValueError as error:
            msg = f"What answers at {self._url} is not this API; see VIBESURF_API_URL."
            raise Failure(msg) from error


def path(*parts: str) -> str:
    """A path of these parts, each quoted but for slashes, as deployments have them in names.

    Raises:
        Failure: One is no text.
    """
    try:
        return "".join(f"/{quote(part, safe='/')}" for part in parts)
    except UnicodeEncodeError as error:
        raise Failure(_NO_TEXT) from error


def _refusal(answer: httpx.Response) -> Failure:
    status = answer.status_code
    code = USAGE if status in _USAGE_STATUSES else NOT_DONE
    try:
        detail = answer.json()["detail"]
        if status == httpx.codes.NOT_FOUND and (
            detail == _NO_ROUTE or answer.request.url.path.endswith(_SUBMITS)
        ):
            msg = f"What answers at {answer.request.url} is not this API; see VIBESURF_API_URL."
            return Failure(msg, USAGE)
        if isinstance(detail, str):
            return Failure(detail, code)
        return Failure("; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in detail), code)
    except (ValueError, KeyError, TypeError):
        return Failure(f"The API answered with status {status}.", USAGE)


def _retry_after(answer: httpx.Response) -> float:
    """Seconds after which to ask again."""
    try:
        wanted = float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        wanted = 1.0
    return min(max(wanted, _PAUSE_SECONDS), _MOST_PAUSE_SECONDS)


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
