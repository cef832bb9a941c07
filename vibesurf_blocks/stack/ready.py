"""Wait until a server answers, and find a port for it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping

import httpx

from vibesurf_blocks.errors import StackError


async def wait_ready(
    url: str,
    *,
    timeout: float,
    died: Callable[[], str | None] | None = None,
    interval: float = 0.05,
    headers: Mapping[str, str] | None = None,
) -> float:
    """Wait until a GET of the URL is answered with a 2xx.

    Args:
        url: What to ask, for instance `http://127.0.0.1:4200/api/health`.
        timeout: Seconds to wait at the most.
        died: Called between two tries; a sentence when who should answer has ended, else None.
        interval: Seconds between two tries.
        headers: Sent with each.

    Returns:
        The seconds it took.

    Raises:
        StackError: nobody answered in time, or who should have has ended.
    """
    start = time.monotonic()
    last = "no answer"
    # No proxy from the environment: these are our own processes.
    async with httpx.AsyncClient(
        trust_env=False, timeout=min(timeout, 5.0), headers=headers
    ) as client:
        while True:
            try:
                answer = await client.get(url)
                if answer.is_success:
                    return time.monotonic() - start
                last = f"status {answer.status_code}"
            except httpx.TransportError as error:
                last = str(error) or type(error).__name__
            if died is not None and (reason := died()) is not None:
                raise StackError(reason)
            if time.monotonic() - start + interval > timeout:
                raise StackError(f"{url} did not answer within {timeout:g} s ({last}).")
            await asyncio.sleep(interval)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    with listening_socket(host, 0) as opened:
        return int(opened.getsockname()[1])


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind, not yet listen, so that a taken port is noticed before anything slow begins.

    Raises:
        StackError: the port is taken or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise StackError(f"{host!r} is not an address of this machine.") from error
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise StackError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return opened
