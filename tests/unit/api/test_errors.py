"""What an error is answered with: what is wrong, and who has to do something about it."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from sqlalchemy.exc import OperationalError

from vibesurf_blocks.api import errors


async def answer(error: Exception, method: str = "POST") -> tuple[int, str]:
    """What a route that meets this error answers."""
    app = FastAPI()
    errors.install(app)

    @app.api_route("/", methods=["GET", "POST"])
    async def fails() -> None:
        raise error

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        said = await client.request(method, "/")
    return said.status_code, said.json()["detail"]


def refusal(status: int, said: object) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://prefect/api/")
    response = httpx.Response(status, json=said, request=request)
    return PrefectHTTPStatusError("no", request=request, response=response)


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (422, {"exception_detail": [{"msg": "Too long", "input": "secret"}]}, "says: Too long"),
        (409, {"detail": "In the way"}, "says: In the way"),
        (400, ["nonsense"], "(status 400)."),
    ],
)
async def test_what_prefect_refuses_is_no_absence_of_prefect(
    status: int, said: object, words: str
) -> None:
    code, detail = await answer(refusal(status, said))
    assert code == 400
    assert detail.endswith(words)
    assert "does not answer" not in detail
    assert "secret" not in detail


async def test_what_the_client_cannot_mend_is_503_and_says_what_it_is() -> None:
    code, detail = await answer(refusal(401, {"exception_message": "Unauthorized"}))
    assert (code, "does not let this API in" in detail) == (503, True)
    code, detail = await answer(ObjectNotFound(Exception("no")))
    assert (code, "no longer" in detail) == (503, True)
    for status in (429, 500, 503):
        code, detail = await answer(refusal(status, {}))
        assert (code, "does not answer" in detail) == (503, True)


async def test_a_database_that_fails_within_a_statement_is_told_in_json() -> None:
    error = OperationalError("SELECT secret", {}, Exception("gone"))
    code, detail = await answer(error, "GET")
    assert code == 503
    assert "database" in detail
    assert "secret" not in detail


async def test_a_silent_prefect_may_have_done_what_it_was_asked() -> None:
    for error in (httpx.ReadTimeout("late"), TimeoutError()):
        code, detail = await answer(error)
        assert (code, "may have been carried out" in detail) == (503, True)
        code, detail = await answer(error, "GET")
        assert (code, "may have been" in detail) == (503, False)
