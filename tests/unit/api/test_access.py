"""Who is let in: the names a server answers to, the pages that may call it, the token it wants."""

from __future__ import annotations

import hmac

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from vibesurf_blocks.api import access
from vibesurf_blocks.api.access import Access
from vibesurf_blocks.api.hosts import Hosts, Origins

TOKEN = "a-token-that-nobody-guesses"
EXTENSION = "chrome-extension://" + "abcdefghijklmnop" * 2
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Behind:
    """An application that counts who came through."""

    def __init__(self) -> None:
        self.came = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.came += 1
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})


async def ask(
    behind: Behind,
    method: str = "GET",
    path: str = "/tasks/status",
    *,
    bound: str = "127.0.0.1",
    names: tuple[str, ...] = (),
    origins: tuple[str, ...] = ("chrome-extension://*", "https://app.example.org"),
    token: str | None = None,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
) -> httpx.Response:
    app = Access(behind, Hosts(bound, names), Origins(origins), token)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9335") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9335",
        "localhost",
        "LOCALHOST:1",
        "localhost.:80",
        "[::1]:9335",
        "127.8.9.1",
        "agents.example.org",
        "deep.in.example.net:443",
    ],
)
async def test_loopback_answers_to_its_names_and_those_that_were_configured(host: str) -> None:
    names = ("agents.example.org", "*.example.net")
    answer = await ask(Behind(), names=names, headers={"Host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "example.net",
        "127.0.0.1@evil.example",
        "127.0.0.1:9335, evil.example",
        "10.0.0.1",
        "[::2]",
        "",
        "127.0.0.1/",
        "a b",
    ],
)
async def test_a_name_that_was_made_to_lead_here_is_refused(host: str) -> None:
    behind = Behind()
    answer = await ask(behind, names=("*.example.net",), headers={"Host": host})
    assert answer.status_code == 403
    assert "VIBESURF_ALLOWED_HOSTS" in answer.json()["detail"]
    assert behind.came == 0


async def test_two_host_headers_are_refused() -> None:
    headers = [("Host", "127.0.0.1"), ("Host", "localhost")]
    assert (await ask(Behind(), headers=headers)).status_code == 403


async def test_where_a_token_is_wanted_any_name_will_do_until_one_is_configured() -> None:
    evil = {"Host": "any.example", **BEARER}
    assert (await ask(Behind(), bound="0.0.0.0", token=TOKEN, headers=evil)).status_code == 200
    answer = await ask(Behind(), bound="0.0.0.0", token=TOKEN, names=("a.example",), headers=evil)
    assert answer.status_code == 403


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:8000",
        "https://app.example.org.evil.example",
        "chrome-extension://a/b",
        "https://app.example.org:444",
        "file://",
        "",
    ],
)
async def test_a_page_of_another_origin_is_refused(method: str, origin: str) -> None:
    behind = Behind()
    answer = await ask(behind, method, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert behind.came == 0


async def test_a_second_origin_header_does_not_help() -> None:
    headers = [("Origin", "https://evil.example"), ("Origin", EXTENSION)]
    assert (await ask(Behind(), "POST", headers=headers)).status_code == 403


async def test_a_form_that_hides_its_origin_is_refused_where_the_browser_tells() -> None:
    hidden = {"Sec-Fetch-Site": "cross-site"}
    assert (await ask(Behind(), "POST", headers=hidden)).status_code == 403
    assert (await ask(Behind(), "GET", headers=hidden)).status_code == 200


@pytest.mark.parametrize("origin", [EXTENSION, "https://app.example.org"])
async def test_an_allowed_origin_may_call_and_read_the_answer(origin: str) -> None:
    answer = await ask(Behind(), "POST", headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_its_own_pages_may_call() -> None:
    answer = await ask(Behind(), "POST", headers={"Origin": "http://127.0.0.1:9335"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_an_allowed_origin_may_ask_first_without_a_token() -> None:
    behind = Behind()
    preflight = {
        "Origin": EXTENSION,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = await ask(behind, "OPTIONS", token=TOKEN, headers=preflight)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == EXTENSION
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert behind.came == 0
    wrong = {**preflight, "Access-Control-Request-Method": "PATCH"}
    assert (await ask(behind, "OPTIONS", token=TOKEN, headers=wrong)).status_code == 400


async def test_without_the_token_nobody_comes_in() -> None:
    behind = Behind()
    answer = await ask(behind, token=TOKEN)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="vibesurf-blocks"'
    assert "VIBESURF_API_TOKEN" in answer.json()["detail"]
    shared = await ask(behind, token=TOKEN, headers={"Origin": EXTENSION})
    assert shared.status_code == 401
    assert shared.headers["access-control-allow-origin"] == EXTENSION
    assert behind.came == 0


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xff",
    ],
)
async def test_a_wrong_token_is_refused(authorization: str) -> None:
    behind = Behind()
    headers = [(b"Authorization", authorization.encode("latin-1"))]
    app = Access(behind, Hosts("127.0.0.1"), Origins(()), TOKEN)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/tasks", headers=httpx.Headers(headers))
    assert answer.status_code == 401
    assert behind.came == 0


@pytest.mark.parametrize(
    "headers", [BEARER, {"authorization": f"bearer   {TOKEN} "}, {"X-API-Key": TOKEN}]
)
async def test_the_token_lets_in(headers: dict[str, str]) -> None:
    assert (await ask(Behind(), "POST", token=TOKEN, headers=headers)).status_code == 200


async def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    class Watched:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(access, "hmac", Watched)
    await ask(Behind(), token=TOKEN, headers=BEARER)
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize(
    "path", ["/health", "/api/ready", "/openapi.json", "/api/docs", "/logos/llm-profile.png"]
)
async def test_what_tells_nothing_is_read_without_a_token(path: str) -> None:
    assert (await ask(Behind(), path=path, token=TOKEN)).status_code == 200
    assert (await ask(Behind(), "POST", path, token=TOKEN)).status_code == 401


@pytest.mark.parametrize("path", ["/tasks", "/health/x", "/logos", "/metrics", "/api/api/health"])
async def test_everything_else_wants_it(path: str) -> None:
    assert (await ask(Behind(), path=path, token=TOKEN)).status_code == 401


async def test_web_sockets_of_other_pages_are_refused() -> None:
    """They ask nobody first, and Prefect's server has some."""
    for origin, accepted in ((b"https://evil.example", False), (b"http://127.0.0.1:4200", True)):
        behind = Behind()
        sent: list[str] = []

        async def send(message: object, sent: list[str] = sent) -> None:
            assert isinstance(message, dict)
            sent.append(message["type"])

        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        scope = {
            "type": "websocket",
            "path": "/api/events/out",
            "headers": [(b"host", b"127.0.0.1:4200"), (b"origin", origin)],
        }
        await Access(behind, Hosts("127.0.0.1"), Origins(()), None)(scope, receive, send)
        assert sent == ["websocket.accept" if accepted else "websocket.close"]
