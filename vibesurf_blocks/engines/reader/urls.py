"""Finds the URLs in a text, normalises them and tells sites apart."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import httpx

from vibesurf_blocks.engines.reader.limits import NAMED_URL

_OPENING = {")": "(", "]": "[", "}": "{"}
# What ends a URL in running text although a browser's address bar would take it: quotation marks
# and brackets of any script, the seam of a markdown link, and the start of the next URL in a list.
_CANDIDATE = re.compile(
    r"""https?://(?:(?!\]\(|[,;|]+https?://)[^\s<>"`\\^{}|\x00-\x20\x7f。，、；：！？「」『』（）【】《》〈〉“”„«»])+""",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?'*~…’‘›‹·"
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password that a URL carried; never shown or kept.

    Attributes:
        username: Decoded user name.
        password: Decoded password, maybe empty.
    """

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class Found:
    """The URLs of a text.

    Attributes:
        urls: Normalised, each once, in the order of the text.
        credentials: What the URLs carried for each origin.
        rest: The text without its URLs.
        invalid: How many looked like URLs and are none.
    """

    urls: list[str]
    credentials: dict[str, Credentials]
    rest: str
    invalid: int


def find(text: str) -> Found:
    """The http and https URLs in a text.

    Takes them from prose, brackets, markdown links and lists: punctuation after a URL and a closing
    bracket that was opened before it do not belong to it.
    """
    urls: dict[str, None] = {}
    credentials: dict[str, Credentials] = {}
    rest: list[str] = []
    invalid = 0
    end = 0
    for match in _CANDIDATE.finditer(text):
        raw = _trim(match.group(), text[match.start() - 1 : match.start()])
        rest.append(text[end : match.start()])
        end = match.start() + len(raw)
        url = normalise(raw)
        if url is None or len(url) > NAMED_URL:
            invalid += 1
            continue
        urls.setdefault(url)
        carried = _credentials(raw)
        if carried is not None:
            credentials.setdefault(origin(url), carried)
    rest.append(text[end:])
    return Found(list(urls), credentials, " ".join(rest), invalid)


def _trim(candidate: str, before: str) -> str:
    """The candidate without what belongs to the sentence around it."""
    while candidate:
        last = candidate[-1]
        unbalanced = last in _OPENING and candidate.count(last) > candidate.count(_OPENING[last])
        if last in _TRAILING or unbalanced or (last == "_" and before == "_"):
            candidate = candidate[:-1]
        else:
            break
    return candidate


def normalise(raw: str) -> str | None:
    """The URL in its normal form (RFC 3986 section 6.2.2), or None where it is no web address.

    Without fragment and credentials; scheme and host in lower case, international names encoded,
    no default port, dots of the path resolved, escapes in upper case. The query stays as it is:
    its order may matter.
    """
    try:
        url = httpx.URL(raw.strip().replace("\\", "/"))
    except (httpx.InvalidURL, ValueError):
        return None
    if url.scheme not in _DEFAULT_PORTS or (url.port is not None and not 0 < url.port < 65536):
        return None
    host = url.raw_host.decode("ascii").removesuffix(".")
    if not _valid_host(host):
        return None
    site = url.copy_with(host=host).netloc.decode("ascii")
    text = f"{url.scheme}://{site}{url.raw_path.decode('ascii')}"
    return _ESCAPE.sub(lambda escape: escape.group().upper(), text)


def _valid_host(host: str) -> bool:
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return True
    return len(host) <= 253 and _HOST.fullmatch(host) is not None


def _credentials(raw: str) -> Credentials | None:
    url = httpx.URL(raw.replace("\\", "/"))
    return Credentials(url.username, url.password) if url.userinfo else None


def origin(url: str) -> str:
    """Scheme, host and port of a normalised URL: what makes a site."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def stays_on_site(url: str, target: str) -> bool:
    """Whether a redirect from `url` to `target` stays on the site, or only makes it secure."""
    if origin(url) == origin(target):
        return True
    a, b = httpx.URL(url), httpx.URL(target)
    upgraded = a.scheme == "http" and b.scheme == "https"
    return upgraded and a.host == b.host and a.port is None and b.port is None
