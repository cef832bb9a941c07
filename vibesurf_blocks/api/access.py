"""Decides before anything else whether a request may come in: its host, its origin, its token."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from starlette.middleware.cors import CORSMiddleware

from vibesurf_blocks.api.errors import problem
from vibesurf_blocks.api.hosts import Hosts, Origins

if TYPE_CHECKING:
    from fastapi import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

PUBLIC: Final = frozenset(
    {"/health", "/ready", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
)
"""Paths that are read without a token: they tell nothing of tasks, sessions or profiles."""

PUBLIC_PREFIX: Final = "/logos/"
"""Where the Prefect UI's pictures are, which a browser fetches without headers."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-API-Key",
)
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """ASGI layer around a server that people and pages reach.

    Whatever a browser sends for a page of another origin is refused unless that origin is allowed,
    whether or not it would ask first: a page that cannot read the answer could still stop a task.

    Args:
        app: What is behind it.
        hosts: Names it answers to.
        origins: Pages that may call it.
        token: What a request has to carry, None where none is needed.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Origins, token: str | None) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._token = None if token is None else token.encode()
        self._shared = CORSMiddleware(
            self._with_token,
            allow_origin_regex=origins.pattern,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            allow_private_network=True,
            expose_headers=("Retry-After", "WWW-Authenticate"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or say why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        host = b""
        origin = site = None
        hosts = 0
        for name, value in scope["headers"]:
            if name == b"host":
                hosts += 1
                host = value
            elif name == b"origin":
                origin = value.decode("latin-1") if origin is None else "several"
            elif name == b"sec-fetch-site":
                site = value
        if hosts != 1 or not self._hosts.allow(host):
            await _refuse(_unknown_host(host), scope, receive, send)
        elif origin is not None and not Origins.own(origin, host):
            if self._origins.allow(origin):
                await self._shared(scope, receive, send)
            else:
                await _refuse(_foreign(origin), scope, receive, send)
        elif origin is None and site == b"cross-site" and scope.get("method") not in _READING:
            await _refuse(_foreign("another site"), scope, receive, send)
        elif self._token is None:
            await self._app(scope, receive, send)
        else:
            await self._with_token(scope, receive, send)

    async def _with_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._token is None or _is_public(scope):
            await self._app(scope, receive, send)
            return
        given = _token(scope)
        if given is not None and hmac.compare_digest(given, self._token):
            await self._app(scope, receive, send)
        else:
            await _refuse(_no_token(given), scope, receive, send)


def _token(scope: Scope) -> bytes | None:
    """The token that a request carries: as a bearer, or as backends' clients send it."""
    key = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, rest = value.partition(b" ")
            if kind.lower() == b"bearer":
                token: bytes = rest.strip()
                return token
        elif name == b"x-api-key":
            key = value
    return key


def _is_public(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
        return False
    path: str = scope["path"].removeprefix("/api")
    return path in PUBLIC or path.startswith(PUBLIC_PREFIX)


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await answer(scope, receive, send)


def _unknown_host(host: bytes) -> Response:
    shown = host.decode("latin-1")[:100]
    return problem(
        403,
        f"This server is not {shown!r}. Reach it as 127.0.0.1 or localhost, or name the host in "
        "VIBESURF_ALLOWED_HOSTS.",
    )


def _foreign(origin: str) -> Response:
    return problem(
        403,
        f"Pages of {origin[:200]} may not use this server. An operator allows an origin in "
        "VIBESURF_ALLOWED_ORIGINS.",
    )


def _no_token(given: bytes | None) -> Response:
    said = "wants a token" if given is None else "does not know this token"
    answer = problem(
        401, f"This API {said}: send `Authorization: Bearer …` with that of VIBESURF_API_TOKEN."
    )
    error = "" if given is None else ', error="invalid_token"'
    answer.headers["WWW-Authenticate"] = f'Bearer realm="vibesurf-blocks"{error}'
    return answer
