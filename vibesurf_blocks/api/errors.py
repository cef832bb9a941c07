"""Turns errors into the documented answers: a sentence, never a stack trace, never an echo."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from vibesurf_blocks.errors import Conflict, InvalidInput, NotFound, Unavailable

logger = logging.getLogger(__name__)

_WORDS = 500
"""Characters of what Prefect says that are passed on."""


def problem(status: int, detail: object) -> Response:
    """A JSON answer `{"detail": …}`; plain ASCII, so that any text can be sent."""
    return Response(json.dumps({"detail": detail}), status, media_type="application/json")


def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    # The input is not sent back: it may be large, secret or no valid text.
    shown = [
        {"type": one["type"], "loc": _place(one["loc"]), "msg": one["msg"]}
        for one in error.errors()
    ]
    return problem(422, shown)


def _place(loc: Sequence[int | str]) -> list[int | str]:
    return [part if isinstance(part, int) else part[:100] for part in loc]


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    if isinstance(error.__cause__, (ValueError, RecursionError)):
        # FastAPI's answer to a body that breaks the parser itself says only that it did.
        msg = "The body is not JSON in UTF-8, or is nested too deeply"
        return problem(422, [{"type": "json_invalid", "loc": ["body"], "msg": msg}])
    answer = problem(error.status_code, error.detail)
    answer.headers.update(error.headers or {})
    return answer


def _invalid(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, NotFound) else 409 if isinstance(error, Conflict) else 400
    return problem(status, str(error))


def _unavailable(_: Request, error: Exception) -> Response:
    logger.warning("Answering 503: %s", error)
    return problem(503, str(error))


def _prefect(request: Request, error: Exception) -> Response:
    logger.warning("Prefect did not do what was asked: %r", error)
    status = _refused(error)
    if status in {401, 403}:
        msg = f"The Prefect server does not let this API in (status {status}); see how it logs in."
        return problem(503, msg)
    if status == httpx.codes.NOT_FOUND:
        return problem(
            503, "The Prefect server has not, or no longer, what this needs; look again."
        )
    if status is not None and status < httpx.codes.INTERNAL_SERVER_ERROR:
        return problem(
            400, f"The Prefect server refused the request (status {status}).{_why(error)}"
        )
    msg = "The Prefect server does not answer; see that it runs and try again."
    return problem(503, msg + _maybe(request))


def _database(request: Request, error: Exception) -> Response:
    logger.warning("The database of the tables did not do what was asked: %r", error)
    msg = "The database of the tables did not do what was asked; see that it runs and try again."
    return problem(503, msg + _maybe(request))


def _maybe(request: Request) -> str:
    if request.method in {"GET", "HEAD"}:
        return ""
    return " See first what came of this request: it may have been carried out."


def _refused(error: Exception) -> int | None:
    """The status of Prefect's answer to a request it will not take; None where it may later."""
    if isinstance(error, ObjectNotFound):
        return 404
    if isinstance(error, ObjectAlreadyExists):
        return 409
    if not isinstance(error, httpx.HTTPStatusError):
        return None
    status = error.response.status_code
    passing = {httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS}
    return status if 400 <= status < 500 and status not in passing else None


def _why(error: Exception) -> str:
    """Prefect's own words for what is wrong, without the input that it sends back."""
    if not isinstance(error, httpx.HTTPStatusError):
        return ""
    try:
        said = error.response.json()
        parts = said.get("exception_detail") or said.get("detail")
        words = parts if isinstance(parts, str) else "; ".join(str(one["msg"]) for one in parts)
    except (ValueError, KeyError, TypeError, AttributeError, httpx.StreamError):
        return ""
    return f" It says: {words[:_WORDS]}" if words else ""


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(InvalidInput, _invalid)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(DBAPIError, _database)
    for kind in (httpx.HTTPError, PrefectException, TimeoutError):
        app.add_exception_handler(kind, _prefect)
