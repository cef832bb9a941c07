"""Speaks the documented task API of a VibeSurf backend, and makes errors of its silent failures."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from vibesurf_blocks.engines.backend.answers import Seen, Submitted, row
from vibesurf_blocks.engines.backend.problems import Away, BackendError, Refused, Unsure
from vibesurf_blocks.engines.reader.text import one_line, shorten
from vibesurf_blocks.tasks import MASK

if TYPE_CHECKING:
    from vibesurf_blocks.blocks import VibeSurfBackend

    Log = logging.Logger | logging.LoggerAdapter[Any]

Command = Literal["pause", "resume", "stop", "add-new-task"]

_TASKS: Final = "/api/tasks"
"""Not `/tasks`: there some servers answer any path with their web page."""

_NOT_BEGUN: Final = {429, 503}
"""Answers of a server that has not begun with the request."""

_PERHAPS_DONE: Final = {502, 504}
"""Answers after which what was asked may still happen, or have happened."""

_TOO_SLOW: Final = 504
"""The answer of a proxy that waited for the server for too long."""

_GRACE_SECONDS: Final = 1.0
"""Seconds that the client is left to say itself what takes so long."""

_SHOWN: Final = 300


class BackendClient:
    """The task API of one backend. What it says is masked before it gets into any error.

    Args:
        block: Where it is, how to be let in, timeouts and attempts.
        log: Where retries are told.
        secrets: Further texts that must not be shown.
    """

    def __init__(self, block: VibeSurfBackend, log: Log, secrets: list[str] | None = None) -> None:
        self._block = block
        self._log = log
        self._secrets = sorted([*block.secrets, *(secrets or ())], key=len, reverse=True)
        self._http = block.connect()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def look(self, *, attempts: int | None = None, seconds: float | None = None) -> Seen:
        """What the backend works on, or what ended last.

        Args:
            attempts: Times to ask, in place of the block's.
            seconds: Seconds the answer may take, in place of the block's.

        Raises:
            Away: It gives no usable answer.
            Refused: It does not let us look.
        """
        answer = await self._request(
            "GET", "/detailed-status", again=True, attempts=attempts, seconds=seconds
        )
        try:
            return Seen.model_validate(self._masked(answer))
        except ValidationError:
            raise self._odd("has_active_task") from None

    async def row(self, task_id: str) -> Seen | None:
        """One task by its id; None where the backend does not offer that, or does not know it."""
        path = f"/{quote(task_id, safe='')}"
        try:
            answer = await self._request("GET", path, again=True, attempts=1)
            seen = row(self._masked(answer))
        except (BackendError, ValidationError):
            return None
        return seen if seen.task_id == task_id else None

    async def submit(self, body: Mapping[str, object], key: str) -> Submitted:
        """Hand a task over; what came of it, which may be that the backend is busy.

        Args:
            body: The documented submit body.
            key: Sent as `Idempotency-Key`, for servers that heed one.

        Raises:
            Unsure: It may have taken the task.
            Away: It has not.
            Refused: It does not take it.
        """
        answer = await self._request("POST", "/submit", body=body, headers={"idempotency-key": key})
        try:
            return Submitted.model_validate(self._masked(answer))
        except ValidationError:
            raise self._odd("success", unsure=True) from None

    async def command(self, operation: Command, reason: str | None) -> None:
        """Ask something of the active task; returns when the backend says that it has happened.

        Raises:
            Unsure: It may have happened.
            Away: It has not.
            Refused: The backend says that it does not happen.
        """
        body = {} if reason is None else {"reason": reason}
        answer = await self._request("POST", f"/{operation}", body=body)
        if answer.get("success") is not True:
            told = self._shown(str(answer.get("message") or answer.get("detail") or answer))
            msg = f"The VibeSurf backend did not do '{operation}': {told}"
            raise Refused(msg, 200)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = False,
        attempts: int | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Send a request, and again while it may be: always, or as long as nothing was begun."""
        block = self._block
        most = attempts or block.attempts
        # The client's own timeout counts from each piece of an answer to the next.
        whole = block.whole_seconds if seconds is None else seconds + _GRACE_SECONDS
        problem: Away
        for attempt in range(1, most + 1):
            try:
                async with asyncio.timeout(whole):
                    answer = await self._http.request(
                        method,
                        f"{block.base_url}{_TASKS}{path}",
                        json=body,
                        headers=headers,
                        timeout=httpx.USE_CLIENT_DEFAULT if seconds is None else seconds,
                    )
                return self._read(answer, again=again)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                problem = Away(
                    f"The VibeSurf backend at {block.base_url} cannot be reached: "
                    f"{self._shown(str(error) or type(error).__name__)}. See that it runs, and "
                    "that the base URL in its block is right."
                )
            except TimeoutError:
                msg = (
                    f"The VibeSurf backend at {block.base_url} gave no whole answer within "
                    f"{whole:g} s."
                )
                problem = Away(msg) if again else Unsure(msg, pending=True)
            except httpx.HTTPError as error:
                msg = (
                    f"The VibeSurf backend at {block.base_url} gave no answer: "
                    f"{self._shown(str(error) or type(error).__name__)} ({type(error).__name__})."
                )
                slow = isinstance(error, httpx.TimeoutException)
                problem = Away(msg) if again else Unsure(msg, pending=slow)
            except Away as error:
                problem = error
            if isinstance(problem, Unsure):
                raise problem
            if attempt < most:
                pause = block.backoff_seconds * 2 ** (attempt - 1)
                self._log.info("%s %s is tried again: %s", method, path, problem.message)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
        if most > 1:
            raise Away(f"{problem.message} (asked {most} times)")
        raise problem

    def _read(self, answer: httpx.Response, *, again: bool) -> dict[str, Any]:
        status = answer.status_code
        if answer.is_success:
            try:
                read = answer.json()
            except ValueError:
                read = None
            if isinstance(read, dict):
                return read
            kind = answer.headers.get("content-type") or "no content type"
            msg = (
                f"The VibeSurf backend at {self._block.base_url} answered {status} with {kind} "
                "instead of its API's JSON. See that the base URL in its block is that of the API. "
                f"It said: {self._shown(answer.text) or 'nothing'}"
            )
            raise Away(msg) if again else Unsure(msg)
        told = self._detail(answer)
        if status in _NOT_BEGUN:
            msg = f"The VibeSurf backend is overloaded or starting; it answered {status}: {told}"
            raise Away(msg)
        if status in {401, 403}:
            msg = (
                f"The VibeSurf backend refused the credentials ({status}). Put valid ones into its "
                "block."
            )
            raise Refused(msg, status)
        if status >= 500 and (again or status in _PERHAPS_DONE):
            msg = f"The VibeSurf backend has a fault; it answered {status}: {told}"
            raise Away(msg) if again else Unsure(msg, pending=status == _TOO_SLOW)
        msg = f"The VibeSurf backend answered {status}: {told}"
        raise Refused(msg, status)

    def _detail(self, answer: httpx.Response) -> str:
        try:
            read = answer.json()
        except ValueError:
            read = None
        told = read.get("detail") if isinstance(read, dict) else None
        return self._shown(told if isinstance(told, str) else answer.text) or "nothing"

    def _odd(self, field: str, *, unsure: bool = False) -> Away:
        msg = (
            f"What the VibeSurf backend at {self._block.base_url} answered is not of its task API: "
            f"there is no {field!r} in it. See that the base URL in its block is right."
        )
        return Unsure(msg) if unsure else Away(msg)

    def _masked(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """The answer with every secret masked: it may repeat what was sent."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, dict):
            return {name: self._masked(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._masked(inner) for inner in value]
        return value

    def hide(self, text: str) -> str:
        """The text with every secret masked."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def _shown(self, text: str) -> str:
        # Masked before it is cut: half a key would not be found.
        return shorten(one_line(self.hide(text)), _SHOWN)
