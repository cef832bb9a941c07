"""Writes text from outside into markdown so that it stays text."""

from __future__ import annotations

import re

_ALWAYS = re.compile(r"[\\`*\[\]|~]")
# Inside a word an underscore means nothing in markdown, and names are full of them.
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_BLOCK_START = re.compile(r"^(\s*)([#+=-]|\d{1,9}[.)](?=\s|$))")
_UNSAFE_IN_URL = re.compile(r"[^A-Za-z0-9:/?#@!$&+,;=%._\[\]~-]")
_BACKTICKS = re.compile(r"`+")


def escape(text: str) -> str:
    """One line of text that markdown shows as it is: no markup, no HTML, no block."""
    text = text.replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _ALWAYS.sub(lambda found: "\\" + found.group(), text)
    text = _UNDERSCORE.sub(r"\\_", text)
    start = _BLOCK_START.match(text)
    if start is not None:
        mark = start.group(2)
        text = f"{start.group(1)}{mark[:-1]}\\{mark[-1]}{text[start.end() :]}"
    return text


def link(text: str, url: str) -> str:
    """A link; the URL is one that `urls.normalise` gave."""
    return f"[{escape(text)}]({_UNSAFE_IN_URL.sub(_percent, url)})"


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found.group().encode())


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(text: str) -> str:
    """A block of text as it is, inside a fence that the text cannot close."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
