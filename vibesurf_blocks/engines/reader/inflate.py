"""Decompresses a response piece by piece and never more of it than there is room for."""

from __future__ import annotations

import zlib
from typing import Protocol

ACCEPTED = "gzip, deflate"
"""Value of the `Accept-Encoding` header that goes with `decoder_for`."""


class Decoder(Protocol):
    """Turns what arrives into what was sent."""

    def feed(self, data: bytes, room: int) -> bytes:
        """The next bytes, at most `room` of them; what does not fit may be lost.

        Raises:
            ValueError: The data are damaged.
        """


class Identity:
    """For a body that is not compressed."""

    def feed(self, data: bytes, room: int) -> bytes:
        """The data as they are."""
        return data[:room]


class Inflate:
    """For gzip and deflate; a small body that unfolds to gigabytes stops at the limit."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._started = False

    def feed(self, data: bytes, room: int) -> bytes:
        """Decompress the data."""
        try:
            return self._inflate(data, room)
        except zlib.error as error:
            msg = "is damaged: its compression cannot be undone"
            raise ValueError(msg) from error

    def _inflate(self, data: bytes, room: int) -> bytes:
        try:
            out = self._stream.decompress(data, room)
        except zlib.error:
            if self._started:
                raise
            # Some servers send deflate without the zlib header that the standard asks for.
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
            out = self._stream.decompress(data, room)
        self._started = True
        return out


def decoder_for(encoding: str) -> Decoder | None:
    """The decoder for a `Content-Encoding` header, or None for one that was not asked for."""
    match encoding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip" | "deflate":
            return Inflate()
        case _:
            return None
