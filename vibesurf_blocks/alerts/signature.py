"""Signs webhooks as https://www.standardwebhooks.com says, so that its libraries verify them.

Id, time and body are signed together: what was recorded cannot be sent again later, nor a body
under another id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final

ID_HEADER: Final = "webhook-id"
TIME_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

TOLERANCE_SECONDS: Final = 300
"""How old, or how far in the future, a webhook may be."""

_PREFIX: Final = "whsec_"


def headers(secret: str, message_id: str, moment: int, body: bytes) -> dict[str, str]:
    """The headers that sign a body, under an id and a time (seconds since 1970)."""
    return {
        ID_HEADER: message_id,
        TIME_HEADER: str(moment),
        SIGNATURE_HEADER: f"v1,{_sign(secret, message_id, str(moment), body)}",
    }


def verify(
    secret: str, received: Mapping[str, str], body: bytes, *, now: float | None = None
) -> bool:
    """Whether a body was signed with this secret, not too long ago; for receivers."""
    message_id, moment = received.get(ID_HEADER, ""), received.get(TIME_HEADER, "")
    try:
        age = (time.time() if now is None else now) - int(moment)
    except ValueError:
        return False
    wanted = _sign(secret, message_id, moment, body)
    given = [one.removeprefix("v1,") for one in received.get(SIGNATURE_HEADER, "").split(" ")]
    genuine = any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given)
    return genuine and abs(age) <= TOLERANCE_SECONDS


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: `whsec_` and base64, or any text.

    Raises:
        ValueError: It begins with `whsec_` and is not base64.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        msg = "after `whsec_` there must be base64"
        raise ValueError(msg) from error


def _sign(secret: str, message_id: str, moment: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(), moment.encode(), body))
    return base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()
