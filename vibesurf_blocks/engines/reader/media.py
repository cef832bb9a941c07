"""Tells pages from text and from files, and turns bytes into characters."""

from __future__ import annotations

import codecs
import mimetypes
import re
from email.message import Message
from enum import StrEnum

import trafilatura.utils


class Kind(StrEnum):
    """What a response holds."""

    HTML = "html"
    TEXT = "text"
    UNKNOWN = "unknown"
    BINARY = "binary"


_HTML = {"text/html", "application/xhtml+xml"}
_UNKNOWN = {"", "application/octet-stream", "application/unknown", "binary/octet-stream"}
_TEXT = {
    "application/json",
    "application/javascript",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/x-ndjson",
    "application/sql",
}
_FOLLOWED = {None, *_HTML, "text/plain", "text/markdown"}
# Only what Python itself knows: the machine's own tables would make runs differ between machines.
_BY_NAME = mimetypes.MimeTypes()

_LOOKS_HTML = re.compile(
    rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.I)
_MAGIC = (b"%PDF-", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b", b"\x7fELF")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python calls these text encodings; no page is written in them, and some hide markup.
_NO_CHARSETS = {"utf-7", "idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
# What browsers take for these names (https://encoding.spec.whatwg.org/).
_READ_AS = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}


def media_type(content_type: str) -> str:
    """Type and subtype of a `Content-Type` header in lower case."""
    return content_type.partition(";")[0].strip().lower()


def kind_of(content_type: str) -> Kind:
    """What a `Content-Type` header announces."""
    media = media_type(content_type)
    if media in _HTML:
        return Kind.HTML
    if media in _UNKNOWN:
        return Kind.UNKNOWN
    if media.startswith("image/"):  # an image in XML is still an image
        return Kind.BINARY
    if media.startswith("text/") or media in _TEXT or media.endswith(("+json", "+xml", "+yaml")):
        return Kind.TEXT
    return Kind.BINARY


def kind_of_body(content_type: str, body: bytes) -> Kind:
    """What a response really holds: HTML, TEXT or BINARY, whatever it announces."""
    announced = kind_of(content_type)
    start = body[:2048]
    wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (
        "utf-16" in content_type.lower() or "utf-32" in content_type.lower()
    )
    # Stray NULs are found in pages, and do no harm there: they are dropped.
    nul = b"\x00" in start and not wide and announced is not Kind.HTML
    if announced is Kind.BINARY or nul or start.startswith(_MAGIC):
        return Kind.BINARY
    if announced is Kind.UNKNOWN:
        return Kind.HTML if _LOOKS_HTML.match(start) else Kind.TEXT
    return announced


def worth_following(path: str) -> bool:
    """Whether a link's path may lead to a page, as far as its ending tells."""
    kind, packed = _BY_NAME.guess_type(path, strict=True)
    return packed is None and kind in _FOLLOWED


def decode(body: bytes, content_type: str, *, html: bool, truncated: bool) -> str:
    """The characters of a body.

    A byte order mark counts first, then UTF-8 where the bytes can hardly be anything else, then
    the header, then the page's own word, each where it fits; otherwise it is guessed.
    """
    for mark, name in _BOMS:
        if body.startswith(mark):
            text = _strictly(body, name, truncated=truncated)
            return text if text is not None else body.decode(name, "replace")
    names = ["utf-8"] if not body.isascii() else []
    header = Message()
    header["Content-Type"] = content_type.encode("ascii", "ignore").decode()
    declared = header.get_content_charset()
    if declared:
        names.append(declared)
    if html:
        meta = _META.search(body[:4096])
        if meta is not None:
            names.append(meta.group(1).decode("ascii"))
    for name in names:
        text = _strictly(body, name, truncated=truncated)
        if text is not None:
            return text
    if body.isascii():
        return body.decode("ascii")
    for name in trafilatura.utils.detect_encoding(body):
        text = _strictly(body, name, truncated=truncated)
        if text is not None:
            return text
    return body.decode("utf-8", "replace")


def _strictly(body: bytes, name: str, *, truncated: bool) -> str | None:
    """The body in that encoding, or None where there is none of that name or it does not fit."""
    try:
        codec = codecs.lookup(name)
        name = _READ_AS.get(codec.name, codec.name)
        if name.replace("_", "-") in _NO_CHARSETS:
            return None
        b"a".decode(name, "ignore")  # refuses codecs that are no encodings of text, like base64
        # A page cut off in the middle of a character is still in its encoding.
        return codecs.getincrementaldecoder(name)("strict").decode(body, not truncated)
    except (LookupError, UnicodeError, AssertionError):
        return None
