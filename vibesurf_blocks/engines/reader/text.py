"""Makes text from outside fit to show: in one line, without control characters or credentials."""

from __future__ import annotations

import re
import unicodedata

_SPACE = re.compile(r"\s+")
# Direction overrides can make a name read as another; the rest has no shape at all.
_UNWANTED = {"Cc", "Cf", "Cs", "Co", "Cn"}
_JOINERS = "\u200c\u200d"  # part of spelling in Persian and Indic scripts, and of emoji
_ASCII = re.compile(r"[\x20-\x7e]*")

_USERINFO = re.compile(r"(?<=://)[^\s/?#<>\"]*@")
# A password with a slash in it is no valid URL, and still nobody's business.
_BROKEN_USERINFO = re.compile(r"(?<=://)[^\s:/@\[<>\"]+:(?!\d+(?:[/?#\s]|$))[^\s@<>\"]+@")


def one_line(text: str, limit: int | None = None) -> str:
    """The text in one line without control characters, at most `limit` characters long."""
    if not _ASCII.fullmatch(text):
        text = "".join(
            char if unicodedata.category(char) not in _UNWANTED or char in _JOINERS else " "
            for char in text
        )
    text = _SPACE.sub(" ", text).strip()
    return text if limit is None else shorten(text, limit)


def shorten(text: str, limit: int) -> str:
    """The text, cut with an ellipsis to at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def redact(text: str) -> str:
    """The text without the credentials (`user:password@`) of the URLs in it."""
    if "@" not in text or "://" not in text:
        return text
    return _BROKEN_USERINFO.sub("", _USERINFO.sub("", text))


def clean(text: str, limit: int | None = None) -> str:
    """The text as `one_line` and without credentials."""
    return one_line(redact(text), limit)


def short_url(url: str, limit: int) -> str:
    """The URL, its middle left out where it is longer than `limit` characters."""
    if len(url) <= limit:
        return url
    head = (limit - 1) * 2 // 3
    return f"{url[:head]}…{url[-(limit - 1 - head) :]}"
