"""Takes what looks like a credential out of a line that is about to be logged.

The last of several guards: secrets are kept out of what is logged where it is made. This one is for
what others say, such as the errors of a library that name the URL they were given.
"""

from __future__ import annotations

import re

from vibesurf_blocks.tasks import MASK

_NAMES = (
    r"(?:api|access|auth|refresh|client|bearer)?[_-]?(?:token|key|secret|password|passwd|pwd)"
    r"|credentials?|signature|sig"
)
_PATTERNS = (
    # user:password@ of any URL; also a password that was not encoded and holds an @.
    (re.compile(r"(?<=://)[^/?#\s'\"<>]+@(?=[\w\[.-])"), f"{MASK}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}"), rf"\1 {MASK}"),
    # In queries, headers, JSON and the repr of either.
    (
        re.compile(
            rf"(?i)(?<![A-Za-z0-9])(\w*(?:{_NAMES}))(['\"]?\s*[=:]\s*['\"]?)"
            r"(?!\*\*\*|None\b|null\b|true\b|false\b)([^\s'\"&,;)}\]]{4,})"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"), MASK),
)
_HINT = re.compile(r"(?i)@|bearer|basic|key|token|secret|passw|pwd|credential|sig|sk-")


def redact(text: str) -> str:
    """The text with `***` where it seems to hold a credential."""
    if _HINT.search(text) is None:
        return text
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text
