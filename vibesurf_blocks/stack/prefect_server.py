"""Run a Prefect server in this process, like `prefect server start`, and end it within seconds.

What that command does beyond `create_app` is: settle the settings, check the port, hand uvicorn
the keep-alive and ping settings. Migrations, block registration, background services and the UI's
files belong to the app and its lifespan. The same is done here, with everything under our home.

Run alone: `python -m vibesurf_blocks.stack.prefect_server --host … --port … --database … --home …`
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vibesurf_blocks import logs
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.collector import collect_beside
from vibesurf_blocks.stack.ready import listening_socket
from vibesurf_blocks.stack.retry_busy import App, Receive, RetryBusy, Scope, Send

if TYPE_CHECKING:
    from types import FrameType

    from fastapi import FastAPI

GRACE_SECONDS = 1
"""Seconds that open requests and WebSockets get to end before they are cancelled."""

_CSRF_PROTECTION = (
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED",
)


def prefect_home(home: Path) -> Path:
    """Folder that takes the place of `~/.prefect`."""
    return home.absolute() / "prefect"


def sqlite_url(home: Path) -> str:
    """SQLAlchemy URL of the server's database where it is SQLite."""
    import sqlalchemy as sa  # noqa: PLC0415 - by far the most of what this module would import

    return sa.URL.create(
        "sqlite+aiosqlite", database=str(prefect_home(home) / "prefect.db")
    ).render_as_string(hide_password=False)


def server_settings(host: str, port: int, database_url: str, home: Path) -> dict[str, str]:
    """Prefect settings, by environment variable, of the server that `run_server` runs."""
    folder = prefect_home(home)
    no_tokens = {} if asks_for_csrf_tokens() else {_CSRF_PROTECTION[0]: "false"}
    return {
        **no_tokens,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "true",
        # Relative, so that it is right under whatever name a browser reaches this server.
        "PREFECT_SERVER_UI_API_URL": "/api",
        # By default the UI's files are prepared inside site-packages, which may be read-only.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(folder / "memo_store.toml"),
        # A schedule added or edited by its own route has no runs until this loop comes round (the
        # faster one sees edited deployments only), so with the default of 60 s its first
        # occurrences are missed or late. One small read each time, but for schedules with fewer
        # than three occurrences in 100 days: Prefect works theirs out anew each time.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    }


def asks_for_csrf_tokens() -> bool:
    """Whether clients of this server need tokens, or have to ask whether they do.

    The server is told the same: that it wants none where nobody has set that it does.
    """
    return any(name in os.environ for name in _CSRF_PROTECTION)


def run_server(host: str, port: int, database_url: str, home: Path) -> None:
    """Serve Prefect's API and UI until SIGTERM or SIGINT, then end within about three seconds.

    For the main thread of a process that does nothing else: a forked child or a program.

    Args:
        host: Address to listen on.
        port: TCP port to listen on.
        database_url: SQLAlchemy URL with an asynchronous driver, SQLite or PostgreSQL.
        home: Folder under which everything is written, in `prefect/`.

    Raises:
        StackError: the address is taken, or the app did not start.
    """
    _exit_on_signals()
    with listening_socket(host, port) as listening:
        prefect_home(home).mkdir(parents=True, exist_ok=True)
        settings = server_settings(host, port, database_url, home)
        # The environment before the first import of the server: its loops read it then.
        os.environ.update(settings, DO_NOT_TRACK="1")
        with _prefect_settings(settings):
            import sqlalchemy as sa  # noqa: PLC0415 - as in `sqlite_url`
            import uvicorn  # noqa: PLC0415 - after the environment
            from prefect.settings import get_current_settings  # noqa: PLC0415

            from vibesurf_blocks.api.access import Access  # noqa: PLC0415
            from vibesurf_blocks.api.hosts import Hosts, Origins  # noqa: PLC0415

            api = get_current_settings().server.api
            ours = Settings()
            # Prefect lets any web page in; a page could start agents, and read what they found.
            app: App = Access(
                _create_app(),
                Hosts(host, ours.allowed_hosts),
                Origins(ours.allowed_origins),
                token=None,
            )
            on_sqlite = sa.make_url(database_url).get_backend_name() == "sqlite"
            if on_sqlite:
                app = RetryBusy(app)

            class Server(uvicorn.Server):
                async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                    await super().startup(sockets)
                    # What has been imported and set up stays; to look through it again and again
                    # takes the garbage collector a tenth of a second each time.
                    gc.collect()
                    gc.freeze()
                    if on_sqlite:
                        collect_beside()

            server = Server(
                uvicorn.Config(
                    _cut_quietly(app, lambda: server.should_exit),
                    lifespan="on",
                    log_level="warning",
                    log_config=logs.of_uvicorn(Settings()),
                    access_log=False,
                    timeout_keep_alive=api.keepalive_timeout,
                    ws_ping_interval=api.websocket_ping_interval,
                    ws_ping_timeout=api.websocket_ping_timeout,
                    timeout_graceful_shutdown=GRACE_SECONDS,
                )
            )
            logs.guard()  # uvicorn and Prefect have set theirs up by now
            _ignore_signals()  # uvicorn has its own while it serves, and repeats them to ours
            server.run(sockets=[listening])
    if not server.started:
        raise StackError("The Prefect server did not start; its log says why.")


def _cut_quietly(app: App, ending: Callable[[], bool]) -> App:
    """Keep the WebSockets that are cut off at shutdown from filling the log with tracebacks."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "websocket" or not ending():
                raise

    return wrapped


def _exit_on_signals() -> None:
    """End at once on a signal that comes before there is anything to shut down."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# What is not documented by Prefect is named below this line only; tests notice when it changes.


@contextmanager
def _prefect_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Have Prefect use these settings even where it was imported with others, as after a fork."""
    import prefect.settings  # noqa: PLC0415

    with prefect.settings.temporary_settings(
        {getattr(prefect.settings, name): value for name, value in settings.items()}
    ):
        yield


def _create_app() -> FastAPI:
    """The app of `prefect server start`: API, UI, and in its lifespan migrations and services."""
    from prefect.server.api.server import create_app  # noqa: PLC0415

    from vibesurf_blocks.prefect_api import firing  # noqa: PLC0415

    firing.install()
    # Final: no other app follows in this process, so what only building one needs is let go.
    return create_app(final=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the server as a program; exit code 1 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m vibesurf_blocks.stack.prefect_server", description="Run a Prefect server."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=4200, help="TCP port to listen on")
    parser.add_argument("--database", help="SQLAlchemy URL; by default SQLite under the home")
    parser.add_argument("--home", type=Path, required=True, help="folder for all that is written")
    chosen = parser.parse_args(arguments)
    try:
        run_server(
            chosen.host, chosen.port, chosen.database or sqlite_url(chosen.home), chosen.home
        )
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
