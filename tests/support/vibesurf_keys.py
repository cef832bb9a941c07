"""Encrypts keys as VibeSurf does: written here from its scheme, apart from what reads them."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC


def encrypted(key: str, machine_id: str) -> str:
    """A key as a row of VibeSurf's holds it, on the machine of this id."""
    kdf = PBKDF2HMAC(
        algorithm=SHA256(), length=32, salt=b"vibesurf_warmshao_2025", iterations=100_000
    )
    fernet = Fernet(base64.urlsafe_b64encode(kdf.derive(machine_id.encode())))
    return base64.urlsafe_b64encode(fernet.encrypt(key.encode())).decode()
