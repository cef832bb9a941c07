"""The ASGI application: routes, bare and under `/api`, with the documented errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from starlette.routing import Route

from vibesurf_blocks import __version__
from vibesurf_blocks.api import (
    errors,
    routes_batches,
    routes_control,
    routes_events,
    routes_profiles,
    routes_schedules,
    routes_seeing,
    routes_tasks,
)
from vibesurf_blocks.api.access import Access
from vibesurf_blocks.api.body_limit import BodyLimit
from vibesurf_blocks.api.context import open_context
from vibesurf_blocks.api.hosts import Hosts, Origins
from vibesurf_blocks.api.rate_limit import Buckets, RateLimit
from vibesurf_blocks.api.schemas import Problem
from vibesurf_blocks.metrics.requests import ApiMetrics, CountRequests
from vibesurf_blocks.settings import Settings

BODY_LIMIT = 20_000_000
"""Bytes of a request body at the most; texts have lower limits of their own."""

_AT_THE_DOOR: Final = {
    401: "No token, or not the right one.",
    403: "A host or a page that may not use this server.",
}
"""What any request may be answered before a route has it."""

_WITH_BODY: Final = {
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body does not say that it is JSON.",
    429: "Too many requests of this client.",
}
"""What one that changes something may be answered as well."""


def create_app(settings: Settings) -> FastAPI:
    """Build the API; it opens what it needs when it starts.

    Raises:
        StackError: It would listen where others reach it, without a token.
    """
    token = settings.guarded_token

    metrics = ApiMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_context(settings, metrics) as context:
            app.state.context = context
            yield

    app = FastAPI(
        title="vibesurf-blocks",
        version=__version__,
        description="Browser agents on Prefect. Every route answers under `/api` as well.",
        lifespan=lifespan,
    )
    for router in (
        routes_control.router,
        routes_events.router,
        routes_batches.router,
        routes_tasks.router,
        routes_schedules.router,
        routes_profiles.router,
        routes_schedules.times_router,
        routes_seeing.router,
    ):
        app.include_router(router)
        app.include_router(router, prefix="/api", include_in_schema=False)
    _add_pages(app)
    errors.install(app)
    # The last one added has a request first.
    app.add_middleware(BodyLimit, limit=BODY_LIMIT)
    if settings.rate_limit:
        app.add_middleware(RateLimit, buckets=Buckets(settings.rate_limit, settings.rate_burst))
    app.add_middleware(
        Access,
        hosts=Hosts(settings.host, settings.allowed_hosts),
        origins=Origins(settings.allowed_origins),
        token=token,
    )
    app.add_middleware(CountRequests, metrics=metrics)
    _describe(app)
    return app


def _add_pages(app: FastAPI) -> None:
    """Have the description and its pages answer under `/api` too."""
    for path in (app.openapi_url, app.docs_url, app.redoc_url):
        for route in app.routes:
            if isinstance(route, Route) and route.path == path:
                app.add_route(f"/api{path}", route.endpoint, include_in_schema=False)
                break


def _describe(app: FastAPI) -> None:
    """Have the OpenAPI document tell of the layers before the routes."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_layers(described())
        assert app.openapi_schema is not None  # noqa: S101 - FastAPI has just set it
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_layers(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.setdefault("Problem", Problem.model_json_schema())
    document["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of `VIBESURF_API_TOKEN`, where the server has one.",
        }
    }
    document["security"] = [{}, {"token": []}]
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in document["paths"].values():
        for method, operation in path.items():
            more = _AT_THE_DOOR if method == "get" else {**_AT_THE_DOOR, **_WITH_BODY}
            for status, description in more.items():
                operation["responses"].setdefault(
                    str(status), {"description": description, "content": content}
                )
