"""Takes from a page its title, outline, main text, tables and links."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import httpx
import lxml.etree
import lxml.html
import trafilatura
from lxml.html import HtmlElement

from vibesurf_blocks.engines.reader.fetch import Fetched
from vibesurf_blocks.engines.reader.limits import (
    FOUND_URL,
    PAGE_BYTES,
    PAGES_CAP,
    RICH_CHARS,
    RICH_ELEMENTS,
    TITLE,
)
from vibesurf_blocks.engines.reader.media import Kind, decode, kind_of_body, worth_following
from vibesurf_blocks.engines.reader.page import Heading, Link, Page, Table
from vibesurf_blocks.engines.reader.text import clean, redact
from vibesurf_blocks.engines.reader.urls import normalise, origin

_HEADINGS = 60
_TABLES = 6
_ROWS = 30
_COLUMNS = 10
_CELL = 160
_LINKS = 60
_LINKS_READ = 2_000
_LINK_TEXT = 120
_DESCRIPTION = 400
_SPARSE = 200
"""Characters of main text under which a page is taken to be laid out with tables."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_FURNITURE = {"nav", "header", "footer", "aside", "form"}
_DESCRIBED = "//meta[@name='description' or @property='og:description']/@content"


class NothingToReadError(Exception):
    """The response holds no text."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """A page and where it leads.

    Attributes:
        page: What it says, cut to the most that is kept of one page.
        onward: Normalised URLs on the same site, in document order, each once.
    """

    page: Page
    onward: list[str]


def extract(url: str, fetched: Fetched) -> Extracted:
    """Read a page that was fetched for `url`. Takes processor time: call it in a thread.

    Raises:
        NothingToReadError: It is empty, or no text.
    """
    if not fetched.body:
        msg = "is empty"
        raise NothingToReadError(msg)
    kind = kind_of_body(fetched.content_type, fetched.body)
    if kind is Kind.BINARY:
        msg = "is a file, not a page of text"
        raise NothingToReadError(msg)
    characters = _CONTROL.sub(
        "",
        decode(
            fetched.body,
            fetched.content_type,
            html=kind is Kind.HTML,
            truncated=fetched.truncated,
        ),
    )
    if not characters.strip():
        msg = "is empty"
        raise NothingToReadError(msg)
    if kind is Kind.TEXT:
        return _plain(url, fetched, characters)
    return _html(url, fetched, characters)


def _plain(url: str, fetched: Fetched, characters: str) -> Extracted:
    """A text file: JSON set out in lines, everything else as it is."""
    text = characters
    if "json" in fetched.content_type.lower() and not fetched.truncated:
        try:
            text = json.dumps(json.loads(characters), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            text = characters
    text = redact("\n".join(clean_line(line) for line in text.splitlines()).strip("\n"))
    name = unquote(httpx.URL(fetched.url).path.rstrip("/").rpartition("/")[2])
    page = Page(
        url=url,
        outcome="read",
        status=fetched.status,
        final_url=fetched.url if fetched.url != url else None,
        kind="text",
        title=clean(name, TITLE),
        words=len(text.split()),
        fingerprint=_fingerprint([text]),
        truncated=fetched.truncated,
        text=text[:PAGE_BYTES],
        cut=len(text) > PAGE_BYTES,
    )
    return Extracted(page, [])


def clean_line(line: str) -> str:
    """A line of plain text: its indent kept, the rest cleaned."""
    body = line.lstrip(" \t")
    indent = line[: len(line) - len(body)].replace("\t", "    ")
    return (indent[:80] + clean(body)).rstrip()


def _html(url: str, fetched: Fetched, characters: str) -> Extracted:
    raw = characters.encode("utf-8", "replace")
    tree = _parse(raw)
    if tree is None:
        msg = "is empty"
        raise NothingToReadError(msg)
    lxml.etree.strip_elements(
        tree, "script", "style", "noscript", "template", "svg", with_tail=False
    )
    elements = sum(1 for _ in tree.iter())
    rich = len(characters) <= RICH_CHARS and elements <= RICH_ELEMENTS
    text = _main_text(raw, rich=rich)
    title = clean(_first(tree.itertext("title")), TITLE)
    headings = list(_headings(tree))
    links = list(_links(tree, fetched.url))
    tables = list(_tables(tree))
    if not title:
        title = next((heading.text for heading in headings), "")[:TITLE]
    shown = [table for table in tables if table.rows][:_TABLES]
    notable = [link for link, furniture in links if not furniture and link.text]
    rest = [link for link, furniture in links if furniture and link.text]
    fingerprint = _fingerprint(
        [
            title,
            text,
            *(heading.text for heading in headings),
            *(cell for table in tables for row in [table.header, *table.rows] for cell in row),
            *(link.text for link, _ in links),
        ]
    )
    page = Page(
        url=url,
        outcome="read",
        status=fetched.status,
        final_url=fetched.url if fetched.url != url else None,
        title=title,
        description=clean(" ".join(map(str, tree.xpath(_DESCRIBED)[:1])), _DESCRIPTION),
        words=len(text.split()),
        link_count=len(links),
        table_count=len(tables),
        fingerprint=fingerprint,
        truncated=fetched.truncated,
        headings=headings[:_HEADINGS],
        text=text[:PAGE_BYTES],
        links=(notable + rest)[:_LINKS],
        tables=[_shown(table) for table in shown],
        cut=len(text) > PAGE_BYTES or len(headings) > _HEADINGS or len(links) > _LINKS,
    )
    site = origin(fetched.url)
    onward = [
        link.url
        for link, _ in links
        if len(link.url) <= FOUND_URL
        and origin(link.url) == site
        and worth_following(httpx.URL(link.url).path)
    ]
    return Extracted(page, onward[: PAGES_CAP * 2])


def _parse(raw: bytes) -> HtmlElement | None:
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return lxml.html.document_fromstring(raw, parser=parser)
    except (lxml.etree.ParserError, lxml.etree.XMLSyntaxError):
        return None


def _main_text(raw: bytes, *, rich: bool) -> str:
    """What the page is about, without its menus, in lines; all visible text where that is all."""
    text: str | None = None
    if rich:
        for tables in (False, True):
            tree = _parse(raw)
            found = trafilatura.extract(
                tree, include_comments=False, include_tables=tables, deduplicate=False
            )
            if found is not None and len(found) > len(text or ""):
                text = found
            if text is not None and len(text) >= _SPARSE:
                break
    if text is None:
        tree = _parse(raw)
        text = trafilatura.html2txt(tree) if tree is not None else ""
    lines = (clean(line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _first(texts: Iterable[object]) -> str:
    return next((str(text) for text in texts if str(text).strip()), "")


def _text(element: HtmlElement, limit: int) -> str:
    return clean(" ".join(str(part) for part in element.itertext()), limit)


def _headings(tree: HtmlElement) -> Iterator[Heading]:
    for element in tree.iter("h1", "h2", "h3", "h4", "h5", "h6"):
        text = _text(element, TITLE)
        if text:
            yield Heading(level=int(str(element.tag)[1]), text=text)


def _links(tree: HtmlElement, url: str) -> Iterator[tuple[Link, bool]]:
    """Each link once, in document order, and whether it is part of the page's furniture."""
    base = _base(tree, url)
    seen: set[str] = {url}
    hrefs: set[str] = set()
    for element in tree.iter("a", "area"):
        href = str(element.get("href") or "").strip()
        if not href or href in hrefs:
            continue
        hrefs.add(href)
        if len(seen) > _LINKS_READ or len(hrefs) > 2 * _LINKS_READ:
            return
        try:
            target = normalise(str(base.join(href.replace("\\", "/"))))
        except (httpx.InvalidURL, ValueError):
            continue
        if target is None or target in seen:
            continue
        seen.add(target)
        words = _text(element, _LINK_TEXT) or clean(
            str(element.get("title") or element.get("aria-label") or element.get("alt") or ""),
            _LINK_TEXT,
        )
        furniture = any(parent.tag in _FURNITURE for parent in element.iterancestors())
        yield Link(text=words, url=target), furniture


def _base(tree: HtmlElement, url: str) -> httpx.URL:
    """What relative links start from: the page's `<base>`, else its address."""
    page = httpx.URL(url)
    for element in tree.iter("base"):
        href = element.get("href")
        if href:
            try:
                return page.join(str(href).strip())
            except (httpx.InvalidURL, ValueError):
                return page
    return page


def _tables(tree: HtmlElement) -> Iterator[Table]:
    """The tables that hold data; one that holds other tables only lays out the page."""
    for element in tree.iter("table"):
        if next(element.iterdescendants("table"), None) is not None:
            continue
        rows: list[list[str]] = []
        header: list[str] = []
        for row in element.iter("tr"):
            cells = list(_cells(row))
            if not any(cells):
                continue
            parent = row.getparent()
            heads = all(cell.tag == "th" for cell in row.iterchildren("th", "td"))
            in_head = parent is not None and parent.tag == "thead"
            if not rows and not header and (heads or in_head):
                header = cells
            else:
                rows.append(cells)
        width = max((len(row) for row in [header, *rows]), default=0)
        if width < 2 or len(rows) + bool(header) < 2:
            continue
        caption = next((_text(part, TITLE) for part in element.iterchildren("caption")), "")
        yield Table(caption=caption, header=header, rows=rows)


def _cells(row: HtmlElement) -> Iterator[str]:
    for cell in row.iterchildren("th", "td"):
        yield _text(cell, _CELL)
        span = str(cell.get("colspan") or "")
        if span.isascii() and span.isdigit():
            yield from [""] * (min(int(span[:3]), _COLUMNS) - 1)


def _widen(row: list[str], width: int) -> list[str]:
    return row + [""] * (width - len(row))


def _shown(table: Table) -> Table:
    """The table with the columns and rows that are kept, every row as wide as the widest."""
    full = max(len(row) for row in [table.header, *table.rows])
    width = min(full, _COLUMNS)
    return Table(
        caption=table.caption,
        header=_widen(table.header[:width], width) if table.header else [],
        rows=[_widen(row[:width], width) for row in table.rows[:_ROWS]],
        cut=max(0, len(table.rows) - _ROWS) + full - width,
    )


def _fingerprint(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "replace"))
        digest.update(b"\x00")  # so that words cannot move from one part to the next unnoticed
    return digest.hexdigest()[:16]
