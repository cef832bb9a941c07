"""Opens the API keys that VibeSurf encrypted with something of the machine it ran on.

VibeSurf derives its key from an id of the machine: the address of a network card, which its
versions spell in two ways, or, where it found none, an id of its own in its workspace. What was
encrypted with another id does not open: nothing is guessed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import psutil
from cryptography.fernet import Fernet, InvalidToken

from vibesurf_blocks.errors import InvalidInput

_SALT: Final = b"vibesurf_warmshao_2025"
_ROUNDS: Final = 100_000
_WITHOUT_CARD: Final = ("VIBESURF_WARMSHAO", "vibesurf_userid")
"""What its versions take where they find neither card nor id."""

_USER_ID: Final = Path("telemetry") / "userid"
_CARD: Final = re.compile(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}")
_ID_BYTES: Final = 1_000


class Keys:
    """The ids that a VibeSurf here may have used."""

    def __init__(self, ids: Iterable[str]) -> None:
        """Try these ids, in this order."""
        self._ids = list(dict.fromkeys(ids))

    def open(self, encrypted: str) -> str | None:
        """The key that was encrypted; None where none of the ids opens it."""
        try:
            token = base64.urlsafe_b64decode(encrypted)
        except (binascii.Error, ValueError):
            return None
        for one in self._ids:
            try:
                return _fernet(one).decrypt(token).decode()
            except (InvalidToken, UnicodeDecodeError):
                continue
        return None


def ids_here(workspaces: Iterable[Path], given: str | None = None) -> Iterator[str]:
    """The ids that VibeSurf may have found on this machine.

    Args:
        workspaces: Folders that may have been its workspace.
        given: An id of another machine.
    """
    if given is not None:
        yield from _spellings(given)
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == psutil.AF_LINK and address.address:
                yield from _spellings(address.address)
    for workspace in workspaces:
        try:
            with (workspace / _USER_ID).open(encoding="utf-8") as file:
                yield file.read(_ID_BYTES)
        except (OSError, UnicodeDecodeError):
            continue
    yield from _WITHOUT_CARD


def read_id(file: Path) -> str:
    """The id of a machine that a file holds.

    Raises:
        InvalidInput: It cannot be read, or holds none.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            found = opened.read(_ID_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file} cannot be read as the id of a machine ({type(error).__name__})."
        raise InvalidInput(msg) from error
    if not found:
        msg = (
            f"{file} is empty: write into it the address of the network card of the machine that "
            "VibeSurf ran on, such as 02:42:ac:11:00:02."
        )
        raise InvalidInput(msg)
    return found


def _spellings(one: str) -> Iterator[str]:
    """An id as it is, and, of a network card, as the versions of VibeSurf spell it."""
    yield one
    if _CARD.fullmatch(one):
        digits = re.sub("[:-]", "", one)
        yield digits.upper()
        yield ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).lower()


@cache
def _fernet(machine_id: str) -> Fernet:
    derived = hashlib.pbkdf2_hmac("sha256", machine_id.encode(), _SALT, _ROUNDS)
    return Fernet(base64.urlsafe_b64encode(derived))
