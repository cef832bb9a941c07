"""How metrics leave a process: on a port of its own, or by a file that the API passes on.

Mirror and worker are processes of their own. Beside a Prefect server of one's own Prometheus asks
each at its port. Under `vibesurf-blocks up` there is one port, the API's: the others write what
they count into a folder of the home, whole, every second, and the API adds it to its own. A file
that is older than ten seconds is of a part that died or hangs, and is left out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest, start_http_server

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

    from vibesurf_blocks.settings import Settings

logger = logging.getLogger(__name__)

PARTS: Final = ("mirror", "worker")
"""Parts that write such a file."""

FRESH_SECONDS: Final = 10.0
"""Seconds after which a file that was not written again counts for nothing."""

_WRITE_SECONDS: Final = 1.0


@asynccontextmanager
async def shared(registry: CollectorRegistry, part: str, settings: Settings) -> AsyncIterator[None]:
    """Show the metrics of a part, as the settings have it, for as long as the block runs."""
    serving = _serve(registry, part, settings)
    folder = settings.metrics_dir
    writing = asyncio.create_task(_keep_writing(registry, folder, part)) if folder else None
    try:
        yield
    finally:
        if serving is not None:
            server, thread = serving
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()
        if writing is not None and folder is not None:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            _file(folder, part).unlink(missing_ok=True)


def _serve(
    registry: CollectorRegistry, part: str, settings: Settings
) -> tuple[WSGIServer, Thread] | None:
    if settings.metrics_port is None:
        return None
    try:
        # Not at the API's address: there a token is asked for, and here none.
        return start_http_server(settings.metrics_port, settings.metrics_host, registry=registry)
    except OSError as error:
        # Agents run all the same.
        logger.warning(
            "The metrics of the %s cannot be shown at %s:%d (%s); set VIBESURF_METRICS_PORT to a "
            "free port.",
            part,
            settings.metrics_host,
            settings.metrics_port,
            error.strerror or error,
        )
        return None


async def _keep_writing(registry: CollectorRegistry, folder: Path, part: str) -> None:
    told = False
    while True:
        try:
            _write(registry, folder, part)
            told = False
        except OSError as error:
            if not told:
                logger.warning("The metrics of the %s cannot be written: %s", part, error)
            told = True
        await asyncio.sleep(_WRITE_SECONDS)


def _write(registry: CollectorRegistry, folder: Path, part: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{part}.new"
    fresh.write_bytes(generate_latest(registry))
    fresh.replace(_file(folder, part))


def collected(folder: Path, now: float | None = None) -> dict[str, bytes | None]:
    """What the parts wrote last, by part; None of one whose file is too old or missing.

    Args:
        folder: Where they write.
        now: Unix time; by default the present one.
    """
    moment = time.time() if now is None else now
    found: dict[str, bytes | None] = {}
    for part in PARTS:
        found[part] = None
        with suppress(OSError):
            file = _file(folder, part)
            if moment - file.stat().st_mtime <= FRESH_SECONDS:
                found[part] = file.read_bytes()
    return found


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}.prom"
