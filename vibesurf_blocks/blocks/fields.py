"""Checks that fields of several blocks share. Their messages hold nothing of what was given."""

from __future__ import annotations

import httpx
from pydantic import SecretStr, ValidationError


def http_url(value: str) -> str:
    """An http address without a password and without a slash at its end.

    Raises:
        ValueError: It is none.
    """
    try:
        url = httpx.URL(value.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        msg = "must be an http or https URL with a host, such as http://127.0.0.1:9335"
        raise ValueError(msg)
    if url.userinfo:
        msg = "must not hold a password: use the fields for it"
        raise ValueError(msg)
    if url.query or url.fragment:
        msg = "must end with its path: leave out everything from '?' or '#' on"
        raise ValueError(msg)
    return str(url)


def header_secret(value: SecretStr | None) -> SecretStr | None:
    """A secret that can be sent as an HTTP header; white space around it is dropped.

    For validators of fields, not for their types: Prefect saves `********` for a secret that it
    does not recognise inside an annotated type.

    Raises:
        ValueError: It is empty, or holds a line break or another sign that no header may hold.
    """
    if value is None:
        return None
    secret = value.get_secret_value().strip()
    if not secret:
        msg = "must not be empty; leave the field out where there is none"
        raise ValueError(msg)
    if not (secret.isascii() and secret.isprintable()):
        msg = "must be one line of plain ASCII; see that nothing else was pasted with it"
        raise ValueError(msg)
    return SecretStr(secret)


def first_problem(error: ValidationError) -> str:
    """Which field is wrong and why, without what was given."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
