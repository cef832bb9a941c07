"""Serves this repository's README and docs as linked HTML pages, for an agent to read."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent

PAGE_SECONDS = 0.4
"""What a page takes to come, as on the web; without it all is read before one can watch."""

_STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1rem;
       color: #1c2330; background: #fff; }
nav { border-bottom: 1px solid #dde2ea; padding-bottom: .6rem; margin-bottom: 1.5rem; }
nav a { margin-right: 1.2rem; }
a { color: #1f5fd0; }
pre { background: #f4f6f9; padding: .8rem; border-radius: 6px; overflow-x: auto; }
code { font: 14px/1.5 ui-monospace, monospace; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #dde2ea; padding: .35rem .6rem; text-align: left; vertical-align: top; }
img { max-width: 100%; }
"""


def sources() -> list[Path]:
    """The markdown files that become pages, the README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def address(source: Path) -> str:
    """The path under which the page of a markdown file is served."""
    return "/" + source.relative_to(ROOT).with_suffix(".html").as_posix()


def render(source: Path) -> str:
    """A markdown file as a whole HTML page; what it links to are pages as well."""
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(source.read_text(encoding="utf-8"))
    title = source.stem
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            text = tokens[number + 1].content
            token.attrSet("id", slug(text))
            if token.tag == "h1":
                title = text
        for child in token.children or ():
            href = child.attrGet("href")
            if isinstance(href, str):
                child.attrSet("href", _href(source, href))
    body = markdown.renderer.render(tokens, markdown.options, {})
    links = "".join(
        f'<a href="{address(page)}">{escape(page.stem.replace("-", " "))}</a>' for page in sources()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><nav>{links}</nav><main>{body}</main></body></html>"
    )


def slug(heading: str) -> str:
    """The anchor of a heading, as code hosting sites make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _href(source: Path, href: str) -> str:
    """Where a link leads on the site; to a file that is no page, nowhere."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc or not parts.path:
        return href
    target = (source.parent / unquote(parts.path)).resolve()
    if target not in sources():
        return "#"
    return address(target) + (f"#{parts.fragment}" if parts.fragment else "")


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        pages = {address(page): page for page in sources()} | {"/": sources()[0]}
        images = {f"/docs/images/{one.name}": one for one in (ROOT / "docs/images").glob("*.png")}
        if path in pages:
            time.sleep(PAGE_SECONDS)
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", render(pages[path]).encode())
        elif path in images:
            self._answer(HTTPStatus.OK, "image/png", images[path].read_bytes())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"No such page.\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the demo shows what is read."""


@contextmanager
def docs_site() -> Iterator[str]:
    """Serve the pages on a free port of loopback; yields the address of the first."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{address(sources()[0])}"
        finally:
            server.shutdown()
            serving.join()
