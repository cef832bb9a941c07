"""The parts of the stack as functions to call in a process of their own.

Each serves until SIGTERM or SIGINT, then ends in order within seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vibesurf_blocks import logs
from vibesurf_blocks.errors import VibesurfError
from vibesurf_blocks.settings import Settings

logger = logging.getLogger(__name__)

_REFUSED = 2
_NOT_STARTED = 3


def bootstrap(pool: str) -> None:
    """Upgrade the tables, and put the pool and the deployments on the Prefect server.

    Ends the process with exit code 2, having said why, where that cannot be.
    """
    from vibesurf_blocks.tables.upgrade import upgrade

    settings = Settings()
    _fresh_prefect()
    logs.configure(settings, "setup")

    async def work() -> None:
        await upgrade(settings.tables_url)
        for point in entry_points(group="vibesurf_blocks.deployments"):
            await point.load()(pool)

    try:
        asyncio.run(work())
    except VibesurfError as error:
        logger.error("%s", error.message)  # noqa: TRY400 - the sentence says it all
        sys.exit(_REFUSED)


def prefect_server(host: str, port: int, database_url: str, home: str) -> None:
    """Run a Prefect server with its UI."""
    from vibesurf_blocks.stack.prefect_server import run_server

    _fresh_prefect()
    settings = Settings()
    if settings.log_format == "json":
        logs.configure(settings, "prefect")
    run_server(host, port, database_url, Path(home))


def worker(name: str | None = None) -> None:
    """Run a worker of the pool."""
    from vibesurf_blocks.worker.worker import VibesurfWorker

    settings = Settings()
    _fresh_prefect()
    logs.configure(settings, "worker")

    async def work() -> None:
        await VibesurfWorker(settings.pool, name=name).start(printer=lambda _: None)

    _serve(work())


def mirror(rebuild: bool = False) -> None:
    """Run the mirror."""
    from vibesurf_blocks.mirror.service import serve

    settings = Settings()
    _fresh_prefect()
    logs.configure(settings, "mirror")
    _serve(serve(settings, rebuild=rebuild))


def api(host: str | None = None, port: int | None = None) -> None:
    """Run the REST API; by default on the configured address.

    Raises:
        StackError: It would listen where others reach it, without a token; or the tables cannot be
            upgraded.
        Unavailable: Their database does not answer.
    """
    settings = Settings()
    settings = settings.model_copy(
        update={"host": host or settings.host, "port": port or settings.port}
    )
    _ = settings.guarded_token  # told of before anything slow begins
    import uvicorn

    from vibesurf_blocks.api.app import create_app
    from vibesurf_blocks.api.connections import guarded
    from vibesurf_blocks.tables.upgrade import upgrade

    _fresh_prefect()
    logs.configure(settings, "api")
    # The app does so too, but what a server that does not start says is a traceback.
    asyncio.run(upgrade(settings.tables_url))
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=guarded(settings.connections),
        ws="none",
        # Who asks is the connection's other end, unless the operator names proxies to believe.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        log_config=None,  # its lines are set up with ours
        log_level="warning",
        access_log=False,
        # Longer than clients keep one: what is sent as a connection closes gets no answer.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Streams of events would go on for as long as their tasks.
            app.state.context.feeds.close()
            await super().shutdown(sockets)

    server = Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)


def _fresh_prefect() -> None:
    """Have Prefect read its settings anew, as it may have been imported in another environment.

    And the names of the time zones once.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    from vibesurf_blocks.prefect_api import timezones

    timezones.remember()
    refresh_global_settings_context()
    setup_logging(incremental=False)


def _serve(work: Coroutine[Any, Any, None]) -> None:
    async def until_signalled() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in one
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await work

    asyncio.run(until_signalled())
