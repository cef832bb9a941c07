"""Keeps requests away from addresses that are no web sites, link-local metadata services above all.

The transport resolves a name once, checks every address, and connects to an address it checked, so
that a name cannot answer with one address for the check and another for the connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from ipaddress import ip_address

import httpx

from vibesurf_blocks.engines.reader.urls import origin
from vibesurf_blocks.sites import Address, Sites

_IDLE_ORIGINS = 8


class AddressRefusedError(Exception):
    """The address is none that the reader connects to."""


class NameUnknownError(Exception):
    """The host name does not resolve."""


async def resolve(host: str, port: int, sites: Sites) -> list[Address]:
    """The addresses of a host, all of them checked.

    Args:
        host: Its name or address.
        port: Where it is to be connected to.
        sites: What may be.

    Raises:
        NameUnknownError: The name does not resolve.
        AddressRefusedError: One of the addresses is none that the reader connects to.
        OSError: The resolver did not answer; worth another attempt.
    """
    reason = sites.refuses_host(host)
    if reason is not None:
        msg = f"refused: {host} is {reason}"
        raise AddressRefusedError(msg)
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        msg = f"the name {host!r} does not resolve"
        raise NameUnknownError(msg) from error
    except UnicodeError as error:
        msg = f"the name {host!r} is no valid host name"
        raise NameUnknownError(msg) from error
    addresses = [ip_address(answer[4][0]) for answer in answers]
    for address in addresses:
        reason = sites.refuses(host, address)
        if reason is not None:
            msg = f"refused: {host} is {address}, {reason}"
            raise AddressRefusedError(msg)
    return addresses


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to checked addresses only; certificates are still checked against the name."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._ssl: ssl.SSLContext | None = None
        # One pool for each origin: pooled by address alone, a connection that was verified for
        # one name could serve another on the same address.
        self._pools: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the first of the host's addresses that takes the connection."""
        url = request.url
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = await resolve(host, port, self._sites)
        except OSError as error:
            msg = f"the name {host!r} could not be looked up"
            raise httpx.ConnectError(msg, request=request) from error
        pool = await self._pool(origin(str(url)))
        failure: httpx.TransportError | None = None
        for address in addresses:
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await pool.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError("no address", request=request)

    async def _pool(self, site: str) -> httpx.AsyncHTTPTransport:
        pool = self._pools.pop(site, None)
        if pool is None:
            pool = httpx.AsyncHTTPTransport(verify=await self._verify(site), trust_env=False)
        self._pools[site] = pool
        while len(self._pools) > _IDLE_ORIGINS:
            await self._pools.pop(next(iter(self._pools))).aclose()
        return pool

    async def _verify(self, site: str) -> ssl.SSLContext | bool:
        """The certificates to trust; loaded, which takes a moment, once a site needs them."""
        if site.startswith("http:"):
            return False
        if self._ssl is None:
            self._ssl = await asyncio.to_thread(httpx.create_ssl_context)
        return self._ssl

    async def aclose(self) -> None:
        """Close all connections."""
        while self._pools:
            await self._pools.popitem()[1].aclose()
