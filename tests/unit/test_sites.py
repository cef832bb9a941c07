"""Which hosts agents may fetch: the settings' lists, and what they have to name to get at."""

from __future__ import annotations

import fnmatch
from ipaddress import ip_address, ip_network

import pytest
from pydantic import ValidationError

from vibesurf_blocks.settings import Settings
from vibesurf_blocks.sites import SiteList, Sites

LOCAL = ip_address("10.1.2.3")
PUBLIC = ip_address("93.184.215.14")
METADATA = ip_address("169.254.169.254")


def sites(allowed: str = "", denied: str = "") -> Sites:
    return Settings.model_validate({"sites_allowed": allowed, "sites_denied": denied}).sites


def test_by_default_all_but_metadata_services() -> None:
    default = sites()
    assert default.refuses("a.example", PUBLIC) is None
    assert default.refuses("intranet", LOCAL) is None
    assert default.refuses("localhost", ip_address("127.0.0.1")) is None
    assert default.refuses_host("a.example") is None
    assert "link-local" in (default.refuses("innocent.example", METADATA) or "")
    assert "metadata" in (default.refuses_host("Metadata.Google.Internal.") or "")
    assert "metadata" in (default.refuses_host("100.100.100.200") or "")
    assert "link-local" in (default.refuses_host("[::ffff:169.254.169.254]") or "")


def test_with_a_list_nothing_else() -> None:
    listed = sites("example.org, *.example.net,10.1.0.0/16")
    assert listed.refuses("example.org", PUBLIC) is None
    assert listed.refuses("a.b.example.net", PUBLIC) is None
    assert listed.refuses("example.net", PUBLIC) is None
    assert listed.refuses("intranet", LOCAL) is None
    for host in ("www.example.org", "badexample.net", "example.net.evil.example"):
        assert listed.refuses(host, PUBLIC) == "not among VIBESURF_SITES_ALLOWED", host
    assert listed.refuses("example.org", METADATA) is not None


def test_a_host_that_no_entry_names_is_not_even_looked_up() -> None:
    assert sites("example.org").refuses_host("secret.evil.example") is not None
    assert sites("example.org").refuses_host("example.org") is None
    # Its address may be among those allowed.
    assert sites("10.0.0.0/8").refuses_host("intranet") is None
    assert sites("", "*.evil.example").refuses_host("x.evil.example") is not None


def test_what_is_denied_is_denied_whatever_is_allowed() -> None:
    both = sites("*.example.org", "secret.example.org,10.0.0.0/8")
    assert both.refuses("www.example.org", PUBLIC) is None
    assert both.refuses("secret.example.org", PUBLIC) == "denied by VIBESURF_SITES_DENIED"
    assert both.refuses("www.example.org", LOCAL) == "denied by VIBESURF_SITES_DENIED"


def test_words_stand_for_networks() -> None:
    outside = sites("", "loopback,private")
    for address in ("127.8.0.1", "::1", "10.0.0.1", "172.31.0.1", "192.168.1.1", "fd00::1"):
        assert outside.refuses("a.example", ip_address(address)) is not None, address
        mapped = ip_address(f"::ffff:{address}") if "." in address else ip_address(address)
        assert outside.refuses("a.example", mapped) is not None, address
    assert outside.refuses("a.example", ip_address("172.32.0.1")) is None
    assert outside.refuses_host("localhost") is not None
    assert outside.refuses_host("app.localhost") is not None


def test_a_metadata_service_may_be_named() -> None:
    named = sites("*,169.254.169.254")
    assert named.refuses("169.254.169.254", METADATA) is None
    assert named.refuses("a.example", PUBLIC) is None
    assert named.refuses("a.example", ip_address("169.254.0.1")) is not None


@pytest.mark.parametrize("entry", ["http://a.example", "a b", "10.0.0.0/33", "a..b", "*.*", "a/b"])
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError, match="sites_denied"):
        sites("", entry)


def _blocked(rules: str, host: str) -> bool:
    """What Chromium makes of the rules, which were tried in it."""
    split = [rule.split() for rule in rules.split(", ") if rule]
    if any(fnmatch.fnmatchcase(host, rule[1]) for rule in split if rule[0] == "EXCLUDE"):
        return False
    return any(fnmatch.fnmatchcase(host, rule[1]) for rule in split if rule[0] == "MAP")


def test_a_browser_is_told_what_is_no_site() -> None:
    rules = sites().resolver_rules()
    refused = ("169.254.169.254", "metadata.google.internal", "fe80::1", "feb0::1", "fd00:ec2::254")
    for host in (*refused, "::ffff:a9fe:a9fe", "100.100.100.200", "0.0.0.0"):
        assert _blocked(rules, host), host
    for host in ("example.org", "127.0.0.1", "10.0.0.1", "::1", "fd00::1", "100.100.100.20"):
        assert not _blocked(rules, host), host
    assert not _blocked(sites("*,169.254.169.254").resolver_rules(), "169.254.169.254")


def test_a_browser_is_told_of_the_lists() -> None:
    rules = sites("*.example.org,10.16.0.0/12", "").resolver_rules("proxy")
    for host in ("example.org", "a.example.org", "10.16.0.1", "10.31.9.9", "proxy"):
        assert not _blocked(rules, host), host
    for host in ("example.net", "10.32.0.1", "169.254.169.254", "127.0.0.1"):
        assert _blocked(rules, host), host
    assert _blocked(sites("", "loopback").resolver_rules(), "127.0.0.1")
    assert _blocked(sites("", "loopback").resolver_rules(), "::1")


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.200.0.1", "11.0.0.1"),
        ("172.16.0.0/12", "172.31.255.1", "172.32.0.1"),
        ("192.168.4.0/22", "192.168.7.9", "192.168.8.1"),
        ("198.51.100.7/32", "198.51.100.7", "198.51.100.70"),
        ("0.0.0.0/0", "1.2.3.4", "a.example"),
        ("fc00::/7", "fd12::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
        ("fd00:ec2::254/128", "fd00:ec2::254", "fd00:ec2::253"),
    ],
)
def test_networks_as_patterns(network: str, inside: str, outside: str) -> None:
    globs = SiteList((), (ip_network(network),)).globs
    assert any(fnmatch.fnmatchcase(inside, glob) for glob in globs)
    assert not any(fnmatch.fnmatchcase(outside, glob) for glob in globs)
