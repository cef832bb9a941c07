"""Time zones: which names are known, and which zone the machine is in."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from zoneinfo import available_timezones

from vibesurf_blocks.errors import InvalidInput

_LINK = Path("/etc/localtime")
_FILE = Path("/etc/timezone")


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime", "Factory"})


def check_zone(name: str) -> str:
    """Return the name of a time zone that is known.

    Raises:
        InvalidInput: It is not.
    """
    if name in _known():
        return name
    msg = f"Unknown time zone {name[:100]!r}: give an IANA name such as 'Europe/Berlin' or 'UTC'"
    raise InvalidInput(msg)


def machine_zone() -> str:
    """The IANA name of the machine's time zone, `UTC` where it cannot be told."""
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    if _LINK.is_symlink():
        candidates.append(str(_LINK.resolve()).partition("zoneinfo/")[2])
    if _FILE.is_file():
        candidates.append(_FILE.read_text(errors="replace").strip())
    return next((one for one in candidates if one in _known()), "UTC")
