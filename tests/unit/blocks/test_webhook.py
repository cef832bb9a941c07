"""Posting to a webhook: what is tried again, what ends it, and that the signature verifies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from pydantic import ValidationError

from tests.support.site import Handler, Site, Visit
from vibesurf_blocks.alerts.signature import TOLERANCE_SECONDS, headers, verify
from vibesurf_blocks.blocks import VibeSurfWebhook
from vibesurf_blocks.errors import AlertError

PATH = "/hook/token-in-the-path"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


def webhook(site: Site, **more: object) -> VibeSurfWebhook:
    values = {"url": site.url(PATH), "secret": SECRET, "backoff_seconds": 0.01}
    return VibeSurfWebhook.model_validate({**values, **more})


def status(code: int) -> Handler:
    return lambda visit: visit.answer(b"", status=code)


async def test_a_receiver_that_fails_twice_gets_the_third_once_and_it_verifies(site: Site) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    def take(visit: Visit) -> None:
        got.append(({k.lower(): v for k, v in visit.headers.items()}, visit.body))
        visit.answer(b"", status=204)

    site.sequence(PATH, status(500), status(503), take)
    assert await webhook(site).send("msg_1", {"data": "☃ Straße"}) == 3
    [(received, body)] = got
    assert site.hits[PATH] == 3
    assert json.loads(body) == {"data": "☃ Straße"}
    assert received["webhook-id"] == "msg_1"
    assert verify(SECRET, received, body)
    # As the standard says, without our own code.
    signed = f"msg_1.{received['webhook-timestamp']}.".encode() + body
    digest = hmac.new(b"0123456789abcdef01234567", signed, hashlib.sha256).digest()
    assert received["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize(("code", "asked"), [(500, 3), (429, 3), (404, 1), (302, 1)])
async def test_what_fails_for_good_ends_and_does_not_tell_the_url(
    site: Site, code: int, asked: int
) -> None:
    site.pages[PATH] = status(code)
    with pytest.raises(AlertError) as caught:
        await webhook(site, attempts=3).send("msg_1", {})
    assert site.hits[PATH] == asked
    assert f"answered {code}" in caught.value.message
    assert "token" not in caught.value.message


@pytest.mark.parametrize("page", [Site.silent, Site.trickle])
async def test_a_receiver_that_never_answers_ends(site: Site, page: object) -> None:
    assert callable(page)
    page(site, PATH)
    begun = time.monotonic()
    if page is Site.silent:
        with pytest.raises(AlertError, match=r"did not answer within 0\.2 s \(asked 2 times\)"):
            await webhook(site, attempts=2, timeout_seconds=0.2).send("msg_1", {})
    else:  # its status is all that is waited for
        assert await webhook(site, timeout_seconds=5).send("msg_1", {}) == 1
    assert time.monotonic() - begun < 5


async def test_nobody_there(site: Site) -> None:
    nobody = webhook(site, url="http://127.0.0.1:1/", attempts=2)
    with pytest.raises(AlertError, match="cannot be reached"):
        await nobody.send("msg_1", {})


@pytest.mark.parametrize("url", ["", "ftp://a/b", "/path", "http://", "http://a:port/"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="http or https URL"):
        VibeSurfWebhook.model_validate({"url": url})


def test_a_secret_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="base64"):
        VibeSurfWebhook.model_validate({"url": "http://a/", "secret": "whsec_?"})


def test_a_signature_is_of_its_secret_id_time_and_body() -> None:
    signed = headers("any text", "msg_1", 1_000, b"{}")
    assert verify("any text", signed, b"{}", now=1_000)
    assert not verify("another", signed, b"{}", now=1_000)
    assert not verify("any text", {**signed, "webhook-id": "msg_2"}, b"{}", now=1_000)
    assert not verify("any text", signed, b"{ }", now=1_000)
    assert not verify("any text", signed, b"{}", now=1_001 + TOLERANCE_SECONDS)
    assert not verify("any text", {}, b"{}")
    assert not verify("any text", {**signed, "webhook-signature": "v1,ä"}, b"{}", now=1_000)
