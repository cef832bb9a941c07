"""The reader and servers that fail, hang, send too much, lead astray or say what is not so."""

from __future__ import annotations

import asyncio
import gzip
import re
import time

import pytest

from tests.support.site import Site
from tests.unit.engines.reading import read


async def test_asks_again_after_a_server_error(site: Site) -> None:
    url = site.sequence(
        "/shaky",
        lambda visit: visit.answer(b"", status=500),
        lambda visit: visit.answer(b"", status=429, Retry_After="0"),
        lambda visit: visit.answer(b"<h1>Fine</h1>"),
    )
    _, steps, _ = await read(f"Read {url}", request_attempts=3)
    assert steps[0].ok
    assert site.hits["/shaky"] == 3


async def test_stops_asking_after_the_set_number_of_attempts(site: Site) -> None:
    url = site.serve("/down", b"", status=503)
    outcome, _, _ = await read(f"Read {url}", request_attempts=2)
    assert site.hits["/down"] == 2
    assert "503 Service Unavailable, asked 2 times" in (outcome.error or "")


async def test_does_not_ask_again_what_stays_as_it_is(site: Site) -> None:
    await read(f"Read {site.url('/gone')}", request_attempts=3)
    assert site.hits["/gone"] == 1


@pytest.mark.parametrize("wait", ["3600", "Fri, 01 Jan 2100 00:00:00 GMT"])
async def test_does_not_wait_an_hour_for_a_server(site: Site, wait: str) -> None:
    url = site.serve("/busy", b"", status=429, Retry_After=wait)
    outcome, _, _ = await read(f"Read {url}", request_attempts=3)
    assert site.hits["/busy"] == 1
    assert "429 Too Many Requests, asks to be left alone for" in (outcome.error or "")


async def test_waits_as_long_as_a_server_asks(site: Site) -> None:
    url = site.sequence(
        "/busy",
        lambda visit: visit.answer(b"", status=503, Retry_After="1"),
        lambda visit: visit.answer(b"<h1>Fine</h1>"),
    )
    start = time.monotonic()
    await read(f"Read {url}", request_attempts=2)
    assert time.monotonic() - start >= 1.0


async def test_a_server_that_never_answers_ends_in_time(site: Site) -> None:
    url = site.silent("/silent")
    start = time.monotonic()
    outcome, _, _ = await read(f"Read {url}", request_timeout=0.3, request_attempts=2)
    assert time.monotonic() - start < 3
    assert "did not answer within 0.3 s, asked 2 times" in (outcome.error or "")
    assert site.hits["/silent"] == 2


async def test_a_page_that_trickles_ends_in_time(site: Site) -> None:
    url = site.trickle("/trickle")
    start = time.monotonic()
    outcome, _, _ = await read(f"Read {url}", request_timeout=0.4)
    assert time.monotonic() - start < 3
    assert "did not finish within 0.4 s" in (outcome.error or "")


async def test_of_a_huge_page_only_the_start_is_fetched(site: Site) -> None:
    url = site.endless("/huge", 100_000_000)
    outcome, steps, _ = await read(f"Read {url}", page_bytes=200_000)
    assert steps[0].ok
    assert "cut off" in outcome.result
    assert await asyncio.to_thread(site.hung_up.wait, 5)
    assert site.hits["/huge bytes"] < 20_000_000


async def test_a_small_page_that_unfolds_to_a_huge_one_is_cut_off(site: Site) -> None:
    bomb = gzip.compress(b"<html><body>" + b"<p>word</p>" * 2_000_000)
    url = site.serve("/bomb", bomb, Content_Encoding="gzip")
    outcome, _, _ = await read(f"Read {url}", page_bytes=100_000)
    assert "cut off" in outcome.result


async def test_reads_compressed_pages(site: Site) -> None:
    url = site.serve("/z", gzip.compress(b"<h1>Inside</h1>"), Content_Encoding="gzip")
    outcome, _, _ = await read(f"Read {url}")
    assert "- Inside" in outcome.result


async def test_what_is_cut_off_at_the_limit_is_said_only_then(site: Site) -> None:
    body = b"<h1>x</h1>".ljust(2048, b" ")
    exact = site.serve("/exact", body)
    outcome, _, _ = await read(f"Read {exact}", page_bytes=2048)
    assert "cut off" not in outcome.result
    outcome, _, _ = await read(f"Read {exact}", page_bytes=2047)
    assert "cut off" in outcome.result


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "image/png"),
        (b"<svg xmlns='x'/>", "image/svg+xml"),
        (b"%PDF-1.7 \x00", "application/pdf"),
        (b"PK\x03\x04\x00\x00", "application/octet-stream"),
        (b"%PDF-1.7 pretends to be a page", "text/html"),
        (b"\x00\x01\x02\x03", None),
        (b"", "text/html"),
        (b"   \n ", "text/html"),
    ],
)
async def test_what_holds_no_text_fails_its_step_only(
    site: Site, body: bytes, media: str | None
) -> None:
    url = site.serve("/file", body, media)
    good = site.html("/good", "<p>Wind and water, every ten minutes since 1987.</p>")
    outcome, steps, _ = await read(f"Read {url} and {good}")
    assert [step.ok for step in steps] == [False, True]
    assert outcome.error is None


async def test_plain_text_and_json_are_shown_as_they_are(site: Site) -> None:
    text = site.serve("/notes.txt", b"one\n  two ``` <b>\n", "text/plain")
    data = site.serve("/d.json", b'{"b":[1,"<i>"]}', "application/json")
    outcome, steps, _ = await read(f"Read {text} and {data}")
    assert all(step.ok for step in steps)
    assert "````text\none\n  two ``` <b>\n````" in outcome.result
    assert '{\n  "b": [\n    1,\n    "<i>"\n  ]\n}' in outcome.result
    assert "&lt;i&gt;" in outcome.report


async def test_a_redirect_loop_ends(site: Site) -> None:
    site.redirect("/x", "/y")
    outcome, _, _ = await read(f"Read {site.redirect('/y', '/x')}")
    assert "redirects more than 10 times" in (outcome.error or "")
    assert sum(site.hits.values()) <= 11


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://0xa9fea9fe/",
        "file:///etc/passwd",
        "http://0.0.0.0/",
    ],
)
async def test_a_redirect_to_a_forbidden_place_is_not_followed(site: Site, target: str) -> None:
    outcome, _, _ = await read(f"Read {site.redirect('/go', target)}")
    assert re.search(r"refused|no web address|broke off", outcome.error or "")
    assert "root:" not in outcome.result


async def test_metadata_services_are_refused_at_once() -> None:
    start = time.monotonic()
    outcome, _, _ = await read("Read http://169.254.169.254/latest/meta-data/", request_attempts=3)
    assert "refused" in (outcome.error or "")
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("body", "media"),
    [
        ("<h1>Größe</h1>".encode("latin-1"), "text/html; charset=utf-8"),
        ("<h1>Größe</h1>".encode(), "text/html; charset=iso-8859-1"),
        ("<meta charset=windows-1252><h1>Größe</h1>".encode("cp1252"), "text/html"),
        ("<h1>Größe</h1>".encode("utf-16"), "text/html"),
        ("<h1>Größe</h1>".encode("utf-8-sig"), "text/html; charset=nonsense"),
        ("<h1>Größe</h1>".encode(), "text/html; charset=base64"),
        ("<h1>Größe</h1>".encode(), None),
    ],
)
async def test_reads_characters_right_whatever_is_declared(
    site: Site, body: bytes, media: str | None
) -> None:
    page = b"<html><body>" + body if body.startswith(b"<h1>") else body
    outcome, _, _ = await read(f"Read {site.serve('/c', page, media)}")
    assert "Größe" in outcome.result
