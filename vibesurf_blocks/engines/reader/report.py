"""Builds the reader's report from its state."""

from __future__ import annotations

from vibesurf_blocks.engines.protocol import EngineContext
from vibesurf_blocks.engines.reader import digest
from vibesurf_blocks.engines.reader.page import Page
from vibesurf_blocks.engines.reader.state import State
from vibesurf_blocks.engines.reader.text import redact, short_url, shorten
from vibesurf_blocks.reports import Fact, Frame, TimelineItem, render
from vibesurf_blocks.reports.render import Tone, prepare

_PACKAGE = "vibesurf_blocks.engines.reader"
_TEMPLATE = "reader.html.j2"
_TASK = 2_000
_TONES: dict[str, Tone] = {"read": "good", "failed": "bad", "skipped": "muted"}

prepare(_PACKAGE, _TEMPLATE)


def report(context: EngineContext, state: State) -> str:
    """The report of a run as one self-contained HTML page."""
    read = state.read
    finished = state.peek() is None
    frame = Frame(
        title=read[0].label if len(read) == 1 else f"{digest.count(len(read), 'page')} read",
        engine="Page reader",
        task=shorten(redact(context.task.task_description), _TASK),
        session_id=context.task.session_id,
        task_id=context.task_id,
        summary=f"{digest.summary(state)}.",
        error=digest.error(state),
        facts=[
            Fact(str(len(read)), "read", "good" if read else "plain"),
            Fact(str(len(state.failed)), "failed", "bad" if state.failed else "plain"),
            Fact(f"{sum(page.words for page in read):,}", "words"),
            Fact(f"{sum(page.link_count for page in read):,}", "links"),
            Fact(f"{sum(page.table_count for page in read):,}", "tables"),
        ],
        timeline=[_item(number, page) for number, page in enumerate(state.pages, 1)],
    )
    return render(
        frame,
        package=_PACKAGE,
        template=_TEMPLATE,
        pages=list(enumerate(state.pages, 1)),
        unread=state.unread if finished else [],
        allowed=state.allowed,
        instructions=state.instructions,
        further_instructions=state.further_instructions,
        unheeded=state.unheeded,
        fingerprint=digest.fingerprint(state.pages),
        lead=digest.lead,
        short_url=short_url,
        count=digest.count,
    )


def _item(number: int, page: Page) -> TimelineItem:
    tail = page.title or page.address if page.outcome == "read" else page.reason or ""
    name = f"{short_url(page.url, 80)} – {shorten(tail, 120)}"
    return TimelineItem(name=name, tone=_TONES[page.outcome], anchor=f"page-{number}")
