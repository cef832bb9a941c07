"""Writes the result of a run: a markdown digest of the pages it read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from vibesurf_blocks.engines.reader import limits
from vibesurf_blocks.engines.reader.markdown import code, escape, link, table
from vibesurf_blocks.engines.reader.page import Page, Table
from vibesurf_blocks.engines.reader.state import State
from vibesurf_blocks.engines.reader.text import short_url, shorten

_LEAD = 500
_PLAIN = 2_000
_OUTLINE = 20
_LINKS = 15
_TABLES = 3
_ROWS = 12
_CELL = 100
_REASONS = 10
_UNREAD = 20
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+(?=\S)|(?<=[。！？])")


def lead(text: str, limit: int = _LEAD) -> str:
    """The first sentences of a text, at most `limit` characters; short lines on the way are left
    out where sentences follow, for they are menus and headings."""
    lines = [line for line in text.split("\n") if line.strip()]
    prose = [line for line in lines if len(line) >= 60 or _SENTENCE_END.search(line + " x")]
    taken = ""
    for line in prose or lines:
        for sentence in _SENTENCE_END.split(line):
            longer = f"{taken} {sentence}".strip()
            if len(longer) > limit:
                return taken or shorten(longer, limit)
            taken = longer
    return taken


def fingerprint(pages: Sequence[Page]) -> str:
    """One fingerprint for all pages: the same as long as all of them say the same."""
    parts = "".join(f"{page.url} {page.outcome} {page.fingerprint}\n" for page in pages)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def error(state: State) -> str | None:
    """Why the task failed: the reason of every page, where none could be read; else None."""
    if state.read or not state.pages:
        return None
    reasons = [
        f"{short_url(page.url, 200)} {shorten(page.reason or 'was passed over', 200)}"
        for page in state.pages[:_REASONS]
    ]
    more = len(state.pages) - len(reasons)
    tail = f"; and {more} more" if more > 0 else ""
    return f"Nothing could be read: {'; '.join(reasons)}{tail}."


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def summary(state: State) -> str:
    """What came of the run, in one sentence."""
    parts = [f"{count(len(state.read), 'page')} read"]
    if state.failed:
        parts.append(f"{count(len(state.failed), 'page')} could not be read")
    words = sum(page.words for page in state.read)
    parts.append(count(words, "word"))
    return ", ".join(parts)


def digest(state: State) -> str:
    """The markdown digest; the same for the same state, and within the limits of `limits`."""
    blocks = [f"# {_heading(state)}", f"{summary(state)}."]
    if state.pages:
        blocks.append(_overview(state.pages))
        blocks.append(f"Content fingerprint of the run: `{fingerprint(state.pages)}`")
    room = limits.DIGEST_BYTES // max(1, len(state.read))
    for page in state.read:
        blocks += _within(_sections(page), room)
    blocks += _not_read(state)
    blocks += _asides(state)
    return "\n\n".join(blocks) + "\n"


def _heading(state: State) -> str:
    if len(state.read) == 1:
        return escape(state.read[0].label)
    return f"{count(len(state.read), 'page')} read"


def _overview(pages: Sequence[Page]) -> str:
    rows = []
    for number, page in enumerate(pages, 1):
        read = page.outcome == "read"
        status = str(page.status) if page.status is not None else "–"
        rows.append(
            [
                str(number),
                link(short_url(page.url, 80), page.url),
                status if read else f"{status} {page.outcome}",
                escape(shorten(page.title, 80)) if read else escape(_reason(page, 80)),
                *(
                    [f"{page.words:,}", f"{page.link_count:,}", str(page.table_count)]
                    if read
                    else ["–"] * 3
                ),
                f"`{page.fingerprint}`" if read else "–",
            ]
        )
    return table(["#", "Page", "Status", "Title", "Words", "Links", "Tables", "Fingerprint"], rows)


def _reason(page: Page, limit: int) -> str:
    return shorten(page.reason or "", limit)


def _within(blocks: list[str], room: int) -> list[str]:
    """The first blocks that fit; says so where some do not."""
    taken: list[str] = []
    for block in blocks:
        room -= len(block.encode()) + 2
        if room < 0:
            # The heading always fits: its length is limited far below any page's share.
            return [*taken, "*Shortened: this page has more than there is room for.*"]
        taken.append(block)
    return taken


def _sections(page: Page) -> list[str]:
    blocks = [f"## {link(page.label, page.address)}"]
    about = []
    if page.final_url:
        about.append(f"Found at {link(short_url(page.final_url, 100), page.final_url)}.")
    if page.truncated:
        about.append("The page is longer than the size limit: cut off, and only its start read.")
    if page.cut:
        about.append("Not everything on the page is kept here.")
    if page.kind == "html" and not page.words:
        about.append("No text stands in the page itself; it may need a browser to show.")
    if about:
        blocks.append("*" + " ".join(about) + "*")
    if page.kind == "text":
        if page.text:
            blocks.append(code(shorten(page.text, _PLAIN)))
        return blocks
    opening = lead(page.text) or page.description
    if opening:
        blocks.append(escape(opening))
    if page.headings:
        blocks.append("**Outline**\n\n" + _outline(page))
    for found in page.tables[:_TABLES]:
        blocks.append(_table(found))
    if page.table_count > min(len(page.tables), _TABLES) and page.tables:
        more = page.table_count - min(len(page.tables), _TABLES)
        blocks.append(f"*{count(more, 'more table')} on the page.*")
    if page.links:
        blocks.append("**Links**\n\n" + _links(page))
    return blocks


def _outline(page: Page) -> str:
    top = min(heading.level for heading in page.headings)
    lines = []
    depth = -1
    for heading in page.headings[:_OUTLINE]:
        # A list can only go one level deeper at a time, whatever the page does.
        depth = min(heading.level - top, depth + 1)
        lines.append(f"{'  ' * depth}- {escape(shorten(heading.text, 120))}")
    if len(page.headings) > _OUTLINE:
        lines.append(f"- … {count(len(page.headings) - _OUTLINE, 'more heading')}")
    return "\n".join(lines)


def _table(found: Table) -> str:
    width = max(len(found.header), *(len(row) for row in found.rows))
    header = [escape(shorten(cell, _CELL)) for cell in found.header] or [" "] * width
    rows = [[escape(shorten(cell, _CELL)) for cell in row] for row in found.rows[:_ROWS]]
    title = f"**Table: {escape(found.caption)}**" if found.caption else "**Table**"
    hidden = len(found.rows) - len(rows) + found.cut
    note = f"\n\n*{count(hidden, 'more row or column', 'more rows or columns')}.*" if hidden else ""
    return f"{title}\n\n{table(header, rows)}{note}"


def _links(page: Page) -> str:
    lines = [f"- {link(found.text or found.url, found.url)}" for found in page.links[:_LINKS]]
    more = page.link_count - len(lines)
    if more > 0:
        lines.append(f"- … {count(more, 'more link')}")
    return "\n".join(lines)


def _not_read(state: State) -> list[str]:
    missed = [page for page in state.pages if page.outcome != "read"]
    lines = [
        f"- {link(short_url(page.url, 100), page.url)} {escape(page.reason or '')}"
        for page in missed
    ]
    finished = state.peek() is None
    if finished and state.unread:
        lines += [
            f"- {link(short_url(url, 100), url)} was left out: the limit of "
            f"{count(state.allowed, 'page')} was reached"
            for url in state.unread[:_UNREAD]
        ]
        more = len(state.unread) - _UNREAD
        if more > 0:
            lines.append(f"- {count(more, 'more page')} for the same reason")
    return ["## Not read", "\n".join(lines)] if lines else []


def _asides(state: State) -> list[str]:
    blocks = []
    if state.instructions:
        lines = [f"- {escape(text)}" for text in state.instructions]
        if state.further_instructions:
            lines.append(f"- … {count(state.further_instructions, 'more instruction')}")
        blocks += ["## Instructions taken in on the way", "\n".join(lines)]
    if state.unheeded:
        blocks += ["## Notes", "\n".join(f"- {escape(text)}" for text in state.unheeded)]
    return blocks
