"""A web site on loopback that misbehaves on demand and counts what it is asked for."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Handler = Callable[["Visit"], None]


class Visit(BaseHTTPRequestHandler):
    """One request to the site; page functions answer through it."""

    site: Site
    body: bytes = b""

    def do_GET(self) -> None:
        path = self.path
        with self.site.lock:
            self.site.hits[path] += 1
            self.site.headers_seen.setdefault(path, dict(self.headers.items()))
            page = self.site.pages.get(path)
        try:
            if page is None:
                self.answer(b"<h1>no such page</h1>", status=404)
            else:
                page(self)
        except (BrokenPipeError, ConnectionResetError):
            self.site.hung_up.set()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def answer(
        self,
        body: bytes,
        content_type: str | None = "text/html; charset=utf-8",
        status: int = 200,
        **headers: str,
    ) -> None:
        self.send_response(status)
        if content_type is not None:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Held:
    """A page that answers when the test says so.

    Attributes:
        url: Where it is.
        asked: Set once somebody has asked for it.
        released: To be set when it is to answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = threading.Event()
        self.released = threading.Event()


class Site:
    """Serves `pages` (path to page function) and records `hits`; over TLS where it is given."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.pages: dict[str, Handler] = {}
        self.hits: Counter[str] = Counter()
        self.headers_seen: dict[str, dict[str, str]] = {}
        self.lock = threading.Lock()
        self.hung_up = threading.Event()
        self.closing = threading.Event()
        self._held: list[Held] = []
        handler = type("SiteVisit", (Visit,), {"site": self})
        self._server = ThreadingHTTPServer((host, 0), handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.netloc}{path}"

    def html(self, path: str, body: str, title: str = "A page") -> str:
        markup = f"<html><head><title>{title}</title></head><body>{body}</body></html>"
        self.pages[path] = lambda visit: visit.answer(markup.encode())
        return self.url(path)

    def serve(
        self,
        path: str,
        body: bytes,
        content_type: str | None = "text/html; charset=utf-8",
        status: int = 200,
        **headers: str,
    ) -> str:
        self.pages[path] = lambda visit: visit.answer(body, content_type, status, **headers)
        return self.url(path)

    def redirect(self, path: str, target: str) -> str:
        return self.serve(path, b"", status=302, Location=target)

    def sequence(self, path: str, *answers: Handler) -> str:
        """Answers one after another; the last one stays."""
        left = list(answers)

        def page(visit: Visit) -> None:
            with self.lock:
                answer = left.pop(0) if len(left) > 1 else left[0]
            answer(visit)

        self.pages[path] = page
        return self.url(path)

    def silent(self, path: str) -> str:
        """Takes the request and never answers."""
        self.pages[path] = lambda visit: void(self.closing.wait(30))
        return self.url(path)

    def held(self, path: str, body: str = "<p>At last.</p>") -> Held:
        """Answers only once the returned page is let go, or the test is over."""
        held = Held(self.url(path))

        def page(visit: Visit) -> None:
            held.asked.set()
            while not held.released.wait(0.02):
                if self.closing.is_set():
                    return
            visit.answer(f"<html><title>Held</title><body>{body}</body></html>".encode())

        self.pages[path] = page
        self._held.append(held)
        return held

    def let_go(self) -> None:
        """Answer everything that is held."""
        for held in self._held:
            held.released.set()

    def trickle(self, path: str) -> str:
        """Sends a byte now and then, for ever."""

        def page(visit: Visit) -> None:
            visit.send_response(200)
            visit.send_header("Content-Type", "text/html")
            visit.end_headers()
            while not self.closing.wait(0.02):
                visit.wfile.write(b"x")
                visit.wfile.flush()

        self.pages[path] = page
        return self.url(path)

    def endless(self, path: str, size: int) -> str:
        """Sends `size` bytes of HTML, made as it goes."""

        def page(visit: Visit) -> None:
            visit.send_response(200)
            visit.send_header("Content-Type", "text/html")
            visit.send_header("Content-Length", str(size))
            visit.end_headers()
            start = b"<html><title>Huge</title><body><h1>Start</h1>"
            visit.wfile.write(start)
            chunk = b"<p>The same sentence over and over again.</p>" * 1000
            sent = len(start)
            while sent < size:
                visit.wfile.write(chunk)
                sent += len(chunk)
                with self.lock:
                    self.hits[f"{path} bytes"] += len(chunk)

        self.pages[path] = page
        return self.url(path)

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def void(_: object) -> None:
    """Drops a value, for page functions."""


@contextmanager
def running() -> Iterator[Site]:
    """A site while the block runs."""
    with Site() as site:
        yield site
