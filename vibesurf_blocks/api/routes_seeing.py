"""Routes for whoever watches the API: `/metrics`, `/health` and `/ready`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks import __version__
from vibesurf_blocks.api.context import Context, Ctx
from vibesurf_blocks.doctor.readiness import Readiness
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.metrics import share
from vibesurf_blocks.metrics.names import CONTENT_TYPE
from vibesurf_blocks.metrics.rows import families

logger = logging.getLogger(__name__)

router = APIRouter(tags=["observability"])


class Health(BaseModel):
    """That the API answers."""

    status: Literal["ok"] = "ok"
    version: str = __version__


@router.get("/health")
async def health() -> Health:
    """Whether this process answers; it asks nobody else."""
    return Health()


@router.get("/ready", responses={503: {"model": Readiness}})
async def ready(context: Ctx, response: Response) -> Readiness:
    """Whether a task that is submitted now would run and get its row; 503 where it would not."""
    found = await context.readiness()
    response.status_code = 200 if found.ready else 503
    return found


@router.get("/metrics", response_class=Response)
async def metrics(context: Ctx) -> Response:
    """Metrics in Prometheus' text format: the API's own, the tables', and the other parts'."""
    folder = context.settings.metrics_dir
    told = await asyncio.to_thread(share.collected, folder) if folder is not None else {}
    rows, checks = await asyncio.gather(_rows(context), context.readiness())
    registry = CollectorRegistry()
    registry.register(_Found([*rows, *_ready(checks), *_parts(told)]))
    texts = [generate_latest(context.metrics.registry), generate_latest(registry)]
    texts += [text for text in told.values() if text is not None]
    return Response(b"".join(texts), media_type=CONTENT_TYPE)


class _Found(Collector):
    """Metrics that were just read, as a registry takes them."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = tuple(found)

    def collect(self) -> Iterable[Metric]:
        return self._found


async def _rows(context: Context) -> list[Metric]:
    """What the tables tell; nothing while they do not answer, which `vibesurf_ready` shows."""
    try:
        return list(families(await context.counts()))
    except (Unavailable, DBAPIError) as error:
        logger.warning("The rows cannot be counted: %s", error)
        return []


def _ready(found: Readiness) -> Iterator[Metric]:
    ready = GaugeMetricFamily(
        "vibesurf_ready", "Whether each check of /ready is passed.", labels=["check"]
    )
    for name, check in found.checks.items():
        ready.add_metric([name], check.ok)
    yield ready
    build = GaugeMetricFamily("vibesurf_info", "This version, always 1.", labels=["version"])
    build.add_metric([__version__], 1)
    yield build


def _parts(told: Mapping[str, bytes | None]) -> Iterator[Metric]:
    if told:
        parts = GaugeMetricFamily(
            "vibesurf_part_up", "Whether a part of `up` wrote its metrics lately.", labels=["part"]
        )
        for part, text in told.items():
            parts.add_metric([part], text is not None)
        yield parts
