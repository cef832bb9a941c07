"""Which names a server answers to and which pages may call it: keeps web sites out of loopback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from vibesurf_blocks.addresses import is_loopback

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class Hosts:
    """The names in `Host` headers that a server answers to.

    A web site whose name is made to resolve to 127.0.0.1 (DNS rebinding) is of the same origin as
    what listens there, for the browser: the name alone tells that it is none of ours.

    Args:
        bound: Address the server listens on.
        names: Further names, `*.example.org` for all under one.
    """

    def __init__(self, bound: str, names: Iterable[str] = ()) -> None:
        given = [name.lower() for name in names]
        self._checked = bool(given) or is_loopback(bound)
        self._names = {bound.lower(), *given}
        self._endings = tuple(name[1:] for name in given if name.startswith("*."))
        self._known: set[bytes] = set()

    def allow(self, header: bytes) -> bool:
        """Whether a `Host` header names this server."""
        if header in self._known:
            return True
        host = _host(header.decode("latin-1"))
        if host is None:
            return False
        allowed = (
            not self._checked
            or is_loopback(host)
            or host in self._names
            or host.endswith(self._endings)
        )
        if allowed and len(self._known) < 1_000:
            self._known.add(header)
        return allowed


def _host(authority: str) -> str | None:
    """The host of an authority in its plain form, None where it is none."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    return match["host"].strip("[]").rstrip(".").lower()


class Origins:
    """The origins of pages that may call a server from a browser, beside its own.

    Args:
        allowed: Origins as browsers write them; `scheme://*` for all of a scheme, which only
            extensions have.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        one = r"[A-Za-z0-9._-]+"
        alternatives = [re.escape(given).replace(r"\*", one) for given in allowed]
        self.pattern = "|".join(alternatives) or r"(?!)"
        self._pattern = re.compile(self.pattern)

    def allow(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        return self._pattern.fullmatch(origin) is not None

    @staticmethod
    def own(origin: str, host: bytes) -> bool:
        """Whether an `Origin` header is of the server that the `Host` header names."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in {"http", "https"}:
            return False
        return parts.netloc.lower() == host.decode("latin-1").lower()
