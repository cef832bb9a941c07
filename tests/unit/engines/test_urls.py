"""Finding URLs in prose, normalising them, and reading wishes from words."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibesurf_blocks.engines.reader.text import redact
from vibesurf_blocks.engines.reader.urls import find, normalise, stays_on_site
from vibesurf_blocks.engines.reader.wishes import pages_wanted


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("Read http://a.example/x.", ["http://a.example/x"]),
        ("Read HTTP://A.Example/X!", ["http://a.example/X"]),
        ("(see http://a.example/x)", ["http://a.example/x"]),
        (
            "(see http://en.example/wiki/Foo_(bar)), then go",
            ["http://en.example/wiki/Foo_(bar)"],
        ),
        ("[words](https://a.example/x)", ["https://a.example/x"]),
        (
            "[http://a.example/1](http://a.example/2 'title')",
            ["http://a.example/1", "http://a.example/2"],
        ),
        ("<http://a.example/x>", ["http://a.example/x"]),
        ("**http://a.example/x**", ["http://a.example/x"]),
        ("_http://a.example/x_", ["http://a.example/x"]),
        (
            "'http://a.example/x', \"http://a.example/y\"",
            ["http://a.example/x", "http://a.example/y"],
        ),
        ("http://a.example,http://b.example", ["http://a.example/", "http://b.example/"]),
        ("请读http://a.example/路径。谢谢", ["http://a.example/%E8%B7%AF%E5%BE%84"]),
        ("http://bücher.example/ä", ["http://xn--bcher-kva.example/%C3%A4"]),
        ("http://BÜCHER.example/", ["http://xn--bcher-kva.example/"]),
        ("http://a.example and http://a.example/#top", ["http://a.example/"]),
        ("http://[::1]:8080/x.", ["http://[::1]:8080/x"]),
        (
            "http://a.example:80/ https://a.example:443/",
            ["http://a.example/", "https://a.example/"],
        ),
        ("http://a.example/?q=1&r=a,b;", ["http://a.example/?q=1&r=a,b"]),
        ("ftp://a.example/ file:///etc/passwd javascript:alert(1)", []),
        ("http:// http://. http://a.example:99999/ http://[bad/", []),
        ("Read example.org", []),
    ],
)
def test_finds_urls_in_prose(text: str, urls: list[str]) -> None:
    assert find(text).urls == urls


def test_keeps_credentials_apart_from_urls() -> None:
    found = find("Read http://jo:s%40cret@a.example/x and http://b.example/")
    assert found.urls == ["http://a.example/x", "http://b.example/"]
    carried = found.credentials["http://a.example"]
    assert (carried.username, carried.password) == ("jo", "s@cret")
    assert list(found.credentials) == ["http://a.example"]
    assert "s@cret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("go to http://jo:pw@h/x now", "go to http://h/x now"),
        ("http://jo@h/x", "http://h/x"),
        ("http://jo:p@w@h/x", "http://h/x"),
        ("http://jo:p/w@h/x", "http://h/x"),
        ("http://h:80/x?mail=a@b", "http://h:80/x?mail=a@b"),
        ("http://h/a@b and me@home", "http://h/a@b and me@home"),
    ],
)
def test_redacts_credentials_in_text(text: str, shown: str) -> None:
    assert redact(text) == shown


_HOSTS = st.from_regex(r"[a-zA-Z0-9]{1,8}(\.[a-zA-Z0-9]{1,8}){0,2}", fullmatch=True)
_TAILS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), max_size=30)


@given(_HOSTS, _TAILS)
def test_normalising_twice_changes_nothing(host: str, tail: str) -> None:
    once = normalise(f"http://{host}/{tail}")
    if once is not None:
        assert normalise(once) == once
        assert once.isascii()
        httpx.URL(once)


@given(st.text(max_size=200))
def test_finding_never_fails_and_finds_what_it_normalised(text: str) -> None:
    for url in find(text).urls:
        assert normalise(url) == url


@given(
    st.lists(st.tuples(_HOSTS, st.from_regex(r"[a-zA-Z0-9/]{0,12}", fullmatch=True)), max_size=6)
)
def test_finds_every_url_of_a_list_whatever_stands_between(parts: list[tuple[str, str]]) -> None:
    expected = [normalise(f"http://{host}/{path}") for host, path in parts]
    text = "Read these: " + ", ".join(f"(http://{host}/{path})" for host, path in parts) + "."
    assert find(text).urls == list(dict.fromkeys(expected))


@pytest.mark.parametrize(
    ("words", "pages"),
    [
        ("Read it, up to 5 pages", 5),
        ("at most 12 pages please", 12),
        ("Read 7 pages", 7),
        ("up to 1,000 pages", 1000),
        ("up to five more pages", 5),
        ("Read 3 pages, no more than 2 pages", 2),
        ("follow links", 10),
        ("follow the links on the same site", 10),
        ("do not follow links", None),
        ("don't follow any links", None),
        ("read page 3", None),
        ("read it", None),
        ("up to 0 pages", 1),
        ("up to " + "9" * 5000 + " pages", 999_999_999),
    ],
)
def test_reads_how_many_pages_are_wanted(words: str, pages: int | None) -> None:
    assert pages_wanted(words) == pages


@pytest.mark.parametrize(
    ("url", "target", "stays"),
    [
        ("http://a.example/x", "http://a.example/y", True),
        ("http://a.example/x", "https://a.example/x", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("http://a.example/x", "http://a.example:8080/x", False),
        ("http://a.example/x", "http://b.example/x", False),
    ],
)
def test_tells_sites_apart(url: str, target: str, stays: bool) -> None:
    assert stays_on_site(url, target) is stays
