"""A Prefect server on SQLite collects its garbage beside its event loop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.eventually import slowness
from vibesurf_blocks.stack.collector import NAME
from vibesurf_blocks.stack.prefect_server import run_server, sqlite_url
from vibesurf_blocks.stack.ready import free_port

pytestmark = pytest.mark.slow


def _serve(folder: Path) -> None:
    def look() -> None:
        while NAME not in {one.name for one in threading.enumerate()}:
            time.sleep(0.1)
        (folder / "seen").touch()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()
    run_server("127.0.0.1", free_port(), sqlite_url(folder), folder)


def test_the_server_has_a_thread_for_its_garbage(tmp_path: Path) -> None:
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(tmp_path,))
    server.start()
    try:
        server.join(60 * slowness())
        assert (tmp_path / "seen").exists()
    finally:
        server.kill()
