"""What is kept of a page, and cutting it to a share of the space."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from vibesurf_blocks.engines.reader.limits import FOUND_URL, REASON, TITLE

Item = TypeVar("Item", bound=BaseModel)


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Heading(_Kept):
    """One heading: its level, 1 to 6, and its text."""

    level: int = Field(ge=1, le=6)
    text: str


class Link(_Kept):
    """One link: its words and its normalised URL."""

    text: str
    url: str


class Table(_Kept):
    """One table of data.

    Attributes:
        caption: Its caption, maybe empty.
        header: Names of the columns; empty where it has none.
        rows: Its rows, all with the same number of cells.
        cut: How many rows or columns more it has.
    """

    caption: str = ""
    header: list[str] = []
    rows: list[list[str]] = []
    cut: int = 0


class Page(_Kept):
    """One page that a run came to.

    Attributes:
        url: As it was asked for, normalised.
        outcome: Whether it was read, failed, or was passed over.
        reason: Why it was not read.
        status: HTTP status, or None where there was no answer.
        final_url: Where it was found, if elsewhere.
        kind: Whether it is a web page or plain text.
        title: Its title, maybe empty.
        description: What it says about itself, maybe empty.
        words: Words of its main text.
        link_count: Different links on it.
        table_count: Tables of data on it.
        fingerprint: Start of the SHA-256 of what it says: the same as long as that is the same.
        truncated: Whether it is longer than what was read of it.
        headings: Its outline.
        text: Its main text, paragraphs on lines of their own.
        links: Its notable links.
        tables: Its tables.
        cut: Whether text, outline, links or tables are shortened.
    """

    url: str
    outcome: Literal["read", "failed", "skipped"]
    reason: str | None = None
    status: int | None = None
    final_url: str | None = None
    kind: Literal["html", "text"] = "html"
    title: str = ""
    description: str = ""
    words: int = 0
    link_count: int = 0
    table_count: int = 0
    fingerprint: str = ""
    truncated: bool = False
    headings: list[Heading] = []
    text: str = ""
    links: list[Link] = []
    tables: list[Table] = []
    cut: bool = False

    @property
    def address(self) -> str:
        """Where the page was found."""
        return self.final_url or self.url

    @property
    def label(self) -> str:
        """The title, or the URL of a page without one."""
        return self.title or self.address


def weight(value: object) -> int:
    """Bytes of a value as JSON in ASCII, the longest form it is stored in."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return len(json.dumps(value))


def cut_text(text: str, room: int) -> str:
    """The start of the text that weighs at most `room` bytes."""
    while text and (size := weight(text)) > room:
        text = text[: min(len(text) - 1, len(text) * max(room, 0) // size)]
    return text


def fit(page: Page, room: int) -> Page:
    """The page, shortened to weigh about `room` bytes.

    Text has the first call on the space, then headings, tables and links; what one leaves is the
    next one's. What identifies a page is kept however little room there is.
    """
    final = page.final_url if page.final_url and len(page.final_url) <= FOUND_URL else None
    bare = page.model_copy(
        update={
            "final_url": final,
            "title": page.title[:TITLE],
            "description": "",
            "reason": page.reason[:REASON] if page.reason else None,
            "headings": [],
            "text": "",
            "links": [],
            "tables": [],
        }
    )
    left = max(0, room - weight(bare))
    description = cut_text(page.description, left // 8)
    left -= weight(description)
    text = cut_text(page.text, left * 4 // 10)
    left -= weight(text)
    headings = _take(page.headings, left // 4)
    left -= _weights(headings)
    tables = _take(page.tables, left // 2, _cut_table)
    left -= _weights(tables)
    links = _take(page.links, left)
    shorter = (
        len(text) < len(page.text)
        or len(headings) < len(page.headings)
        or len(links) < len(page.links)
        or weight([table.model_dump() for table in tables])
        < weight([table.model_dump() for table in page.tables])
    )
    return bare.model_copy(
        update={
            "description": description,
            "headings": headings,
            "text": text,
            "links": links,
            "tables": tables,
            "cut": page.cut or shorter,
        }
    )


def _weights(items: Iterable[BaseModel]) -> int:
    return sum(weight(item) + 2 for item in items)


def _take(
    items: list[Item], room: int, shrink: Callable[[Item, int], Item | None] | None = None
) -> list[Item]:
    """The first items that fit, the last of them made smaller where that can be done."""
    taken: list[Item] = []
    for item in items:
        size = weight(item) + 2
        if size > room:
            smaller = shrink(item, room - 2) if shrink is not None else None
            if smaller is not None:
                taken.append(smaller)
            break
        taken.append(item)
        room -= size
    return taken


def _cut_table(table: Table, room: int) -> Table | None:
    """The table with the first rows that fit, or None where not even one does."""
    bare = table.model_copy(update={"rows": [], "cut": table.cut + len(table.rows)})
    left = room - weight(bare)
    rows: list[list[str]] = []
    for row in table.rows:
        left -= weight(row) + 2
        if left < 0:
            break
        rows.append(row)
    if not rows:
        return None
    return table.model_copy(update={"rows": rows, "cut": table.cut + len(table.rows) - len(rows)})
