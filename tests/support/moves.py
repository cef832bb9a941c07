"""Moves of a scripted model on a page that it sees: elements are named, not numbered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.support.model_server import Answer, Exchange, Json, acts

Move = Callable[[str], Json]
"""Makes an action from the text of a request."""


def element(seen: str, marker: str) -> int:
    """The number of the first element whose line in the request has a marker."""
    # The page that is now in view stands last.
    page = seen.rpartition("Interactive elements:")[2]
    found = re.search(rf"\[(\d+)\]<[^\n]*{re.escape(marker)}", page)
    # Its text stands in the line below the element.
    found = found or re.search(rf"\[(\d+)\]<[^\n]*\n\s*{re.escape(marker)}", page)
    assert found, f"no element {marker!r} on the page the model was shown: {page[-1500:]}"
    return int(found[1])


def opens(url: str) -> Move:
    """Opens a page."""
    return lambda _: {"navigate": {"url": url}}


def types(marker: str, text: str) -> Move:
    """Types into an element."""
    return lambda seen: {"input": {"index": element(seen, marker), "text": text}}


def clicks(marker: str) -> Move:
    """Clicks an element."""
    return lambda seen: {"click": {"index": element(seen, marker)}}


def moves(*made: Move, **more: Any) -> Answer:
    """Answers with actions on the page of the request."""

    def answer(exchange: Exchange) -> None:
        seen = exchange.asked.text
        acts(*(move(seen) for move in made), **more)(exchange)

    return answer
