"""A web site on loopback, in a process of its own so that it takes nothing from who measures."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PAGES = 50
"""Pages of the chain that begins at `/page/1`, each with a link to the next."""

PACE = 0.3
"""Seconds before a page of the chain at `/paced/1` is answered."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the site is."""

    base: str

    @property
    def page(self) -> str:
        """A page that is answered at once."""
        return f"{self.base}/alone"

    @property
    def chain(self) -> str:
        """The first of `PAGES` pages."""
        return f"{self.base}/page/1"

    @property
    def paced(self) -> str:
        """The first of `PAGES` pages that are each answered after `PACE` seconds."""
        return f"{self.base}/paced/1"

    @property
    def slow(self) -> str:
        """A page that is never answered."""
        return f"{self.base}/slow"


@asynccontextmanager
async def running() -> AsyncIterator[Site]:
    """A site for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Site(f"http://127.0.0.1:{int(await process.stdout.readline())}")
    finally:
        process.terminate()
        await process.wait()


def _body(path: str) -> bytes:
    link = ""
    kind, _, number = path.strip("/").partition("/")
    if number and int(number) < PAGES:
        link = f'<a href="/{kind}/{int(number) + 1}">the next page</a>'
    words = "<p>A paragraph with enough words in it to be worth reading once.</p>" * 5
    return (
        f"<html><head><title>Page {path}</title></head><body><h1>{path}</h1>{words}{link}"
        "</body></html>"
    ).encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while request := await reader.readline():
            while await reader.readline() not in {b"\r\n", b""}:
                pass
            path = request.split()[1].decode()
            if path == "/slow":
                await reader.read()  # until the client gives up
                break
            if path.startswith("/paced/"):
                await asyncio.sleep(PACE)
            body = _body(path)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except KeyboardInterrupt:
        sys.exit(0)
