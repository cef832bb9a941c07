"""Reads from the words of a task how many pages it wants."""

from __future__ import annotations

import re

from vibesurf_blocks.engines.reader.limits import FOLLOW_DEFAULT

_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_NUMBER = rf"(?P<n>\d{{1,3}}(?:,\d{{3}})+|\d+|{'|'.join(_WORDS)})"
_PAGES = rf"{_NUMBER}\s+(?:[^\W\d]+\s+){{0,2}}pages?\b"
_BOUND = re.compile(
    rf"\b(?:up to|at most|not? more than|max(?:imum|\.)?(?: of)?|first|limit(?: of| to)?)\s+"
    rf"{_PAGES}",
    re.IGNORECASE,
)
_PLAIN = re.compile(rf"(?<![\w.,-]){_PAGES}", re.IGNORECASE)
_FOLLOW = re.compile(r"\bfollow(?:s|ing)?\b[^.!?\n]{0,40}\blinks?\b", re.IGNORECASE)
_NEGATED = re.compile(r"(?:\bnot|n't|n’t|\bnever|\bwithout|\bno)\s+(?:\w+\s+)?$", re.IGNORECASE)


def pages_wanted(text: str) -> int | None:
    """How many pages a text without its URLs asks for; None where it does not ask to follow links.

    'up to N pages', 'at most N pages' and the like count before a bare 'N pages', and that before
    'follow links', which asks for `FOLLOW_DEFAULT`. At least 1.
    """
    for pattern in (_BOUND, _PLAIN):
        match = pattern.search(text)
        if match is not None:
            return max(1, _number(match.group("n")))
    follow = _FOLLOW.search(text)
    if follow is not None and not _NEGATED.search(text[: follow.start()]):
        return FOLLOW_DEFAULT
    return None


def _number(word: str) -> int:
    if word[0].isdigit():
        # More digits than any limit has: int() refuses very long ones.
        return int(word.replace(",", "")[:9])
    return _WORDS.index(word.lower()) + 1
