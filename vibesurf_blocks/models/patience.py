"""Gives a client of a model the time limit and the repeated attempts that it has not itself."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from vibesurf_blocks.models import library

if TYPE_CHECKING:
    from browser_use.llm.base import BaseChatModel

    from vibesurf_blocks.settings import Settings

Result = TypeVar("Result")

_BACKOFF_SECONDS: Final = 0.5
_UNKNOWN: Final = 502
"""The status browser-use gives what has none."""


def make_patient(
    model: BaseChatModel,
    settings: Settings,
    *,
    timeout: float,
    attempts: int,
    blocks: bool,
) -> None:
    """Limit each request of a client, and repeat what failed for a reason that passes.

    Args:
        model: The client; it must not repeat anything itself.
        settings: Where the library's folders are.
        timeout: Seconds one request may take.
        attempts: Times one request is tried, with growing pauses between.
        blocks: Whether the client blocks its event loop while it waits.
    """
    ask = model.ainvoke
    problems = library.load("browser_use.llm.exceptions", settings)

    async def once(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on as it is
        try:
            async with asyncio.timeout(timeout) as limit:
                if blocks:
                    return await in_thread(lambda: ask(*given, **named))
                return await ask(*given, **named)
        except TimeoutError as error:
            if not limit.expired():
                raise
            msg = f"The model gave no answer within {timeout:g} s."
            raise problems.ModelProviderError(msg, 504, model.model) from error

    async def patient(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on as it is
        for attempt in range(attempts - 1):
            try:
                return await once(*given, **named)
            except Exception as error:
                if not passes(error):
                    raise
            await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt * random.uniform(0.8, 1.2))  # noqa: S311
        return await once(*given, **named)

    # As browser-use itself does: some clients are dataclasses, others models of pydantic.
    object.__setattr__(model, "ainvoke", patient)


def passes(error: Exception) -> bool:
    """Whether what a client raised may pass by itself: overload, a fault, no connection."""
    status = status_of(error)
    if status is not None:
        return status in {408, 429} or status >= 500
    return any(
        isinstance(one, (httpx.TransportError, ConnectionError, TimeoutError))
        or any(word in type(one).__name__ for word in ("Timeout", "Connect", "RateLimit"))
        for one in causes(error)
    )


def status_of(error: Exception) -> int | None:
    """The HTTP status of a refusal; None where there was none.

    browser-use gives its own error a status even where the server gave none: only what the
    provider's own error says counts.
    """
    found = list(causes(error))
    for one in found[1:]:
        status = _status_of_one(one)
        if status is not None:
            return status
    # Clients that speak plain HTTP raise no error of their own beneath it.
    own = getattr(error, "status_code", None)
    return own if len(found) == 1 and isinstance(own, int) and own != _UNKNOWN else None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _status_of_one(error: BaseException) -> int | None:
    answer = getattr(error, "response", None)
    # As botocore has it.
    told = answer.get("ResponseMetadata") if isinstance(answer, dict) else None
    said = [getattr(error, name, None) for name in ("status_code", "code", "status")]
    said.append(told.get("HTTPStatusCode") if isinstance(told, dict) else None)
    return next((one for one in said if isinstance(one, int) and one >= 400), None)


async def in_thread(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in a thread of its own, which ends with the process at the latest."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Callable[[], Result]) -> None:
        if done.done():
            return
        try:
            done.set_result(result())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            done.set_exception(error)

    def run() -> None:
        try:
            found = asyncio.run(work())
        except Exception as caught:  # noqa: BLE001 - handed to whoever waits
            raised = caught

            def result() -> Result:
                raise raised
        else:

            def result() -> Result:
                return found

        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, name="model", daemon=True).start()
    return await done
