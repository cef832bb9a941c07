"""Which hosts agents may fetch: the settings' lists, and what they have to name to get at."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from pydantic import ValidationError

from vibesurf_blocks.settings import Settings
from vibesurf_blocks.sites import SiteList, Sites, written

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


METADATA_ADDRESSES = (
    *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
)


@pytest.mark.parametrize("address", METADATA_ADDRESSES)
def test_a_metadata_service_is_named_by_its_own_address_alone(address: str) -> None:
    asked = ip_address(address)
    for wide in ("private", "*,private", "0.0.0.0/0,::/0", "169.254.0.0/16", "*,fd00:ec2::/32"):
        allowed = sites(wide)
        assert allowed.refuses(address, asked) is not None, wide
        assert _blocked(allowed.resolver_rules(), address), wide
    for named in (address, f"*,private,{address}/{asked.max_prefixlen}"):
        assert sites(named).refuses(address, asked) is None, named
        assert not _blocked(sites(named).resolver_rules(), address), named
        assert sites(named, address).refuses(address, asked) is not None
        assert _blocked(sites(named, address).resolver_rules(), address)


def test_other_addresses_that_are_no_sites_may_be_named_by_their_network() -> None:
    named = sites("*,169.254.0.0/16")
    assert named.refuses("169.254.7.7", ip_address("169.254.7.7")) is None
    assert not _blocked(sites("169.254.7.0/24").resolver_rules(), "169.254.7.7")
    assert sites("0.0.0.0/0").refuses("169.254.7.7", ip_address("169.254.7.7")) is not None


@pytest.mark.parametrize("entry", ["http://a.example", "a b", "10.0.0.0/33", "a..b", "*.*", "a/b"])
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError, match="sites_denied"):
        sites("", entry)


def _matches(host: str, glob: str) -> bool:
    """Whether a pattern of Chromium's is of a host: in it `?` is one character or none."""
    return re.fullmatch(re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".?"), host) is not None


def _blocked(rules: str, host: str) -> bool:
    """What Chromium makes of the rules, which were tried in it."""
    split = [rule.split() for rule in rules.split(", ") if rule]
    if any(_matches(host, rule[1]) for rule in split if rule[0] == "EXCLUDE"):
        return False
    return any(_matches(host, rule[1]) for rule in split if rule[0] == "MAP")


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
    ("allowed", "denied", "refused", "reached"),
    [
        ("*.example.org", "secret.example.org", "secret.example.org", "example.org"),
        ("*.example.org,a.net", "*.b.example.org", "x.b.example.org", "a.net"),
        ("a.example.org", "*.example.org", "a.example.org", ""),
        ("*.example.org", "example.org", "example.org", "a.example.org"),
        ("*,metadata", "metadata", "metadata", "a.example"),
        ("private", "10.0.0.0/8", "10.1.2.3", "192.168.1.1"),
        ("private", "10.1.2.0/24", "10.1.2.3", "10.2.2.3"),
        ("private", "fd12::/16", "fd12::1", "fd13::1"),
        ("64:ff9b::/96,a.net", "10.0.0.0/8", "64:ff9b::a01:203", "a.net"),
        ("*.google.internal,a.net", "", "metadata.google.internal", "a.net"),
        ("private", "", "10.evil.example", "10.0.0.1"),
    ],
)
def test_a_browser_is_kept_from_what_is_denied_within_what_is_allowed(
    allowed: str, denied: str, refused: str, reached: str
) -> None:
    rules = sites(allowed, denied).resolver_rules()
    assert _blocked(rules, refused)
    assert not reached or not _blocked(rules, reached)
    assert len(rules) < 50_000


@pytest.mark.parametrize(
    "spelling",
    [
        *("::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:7f00:1:2::3", "::7f00:1"),
        *("::ffff:a00:1", "64:ff9b::a00:1", "2002:a00:1::", "2002:a00::1", "::ffff:a01:203"),
        *("::ffff:c0a8:0", "64:ff9b::c0a8:101", "::ffff:ac1f:1", "2002:6464:64c8::1"),
        *("::ffff:6464:64c8", "64:ff9b::a83f:8110", "::ffff:c000:c0", "::a9fe:a9fe"),
        *("::ffff:0:1", "2002:a9fe:a9fe::", "64:ff9b::e000:1"),
    ],
)
def test_a_browser_knows_every_spelling_of_an_address(spelling: str) -> None:
    address = ip_address(spelling)
    assert written(address) == spelling
    outside = sites("", "loopback,private")
    assert outside.refuses(spelling, address) is not None
    assert _blocked(outside.resolver_rules(), spelling)
    assert not _blocked(sites("", "198.51.100.7").resolver_rules(), "::ffff:5db8:d70e")


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
        ("2001:db8:0:1::/64", "2001:db8:0:1::1", "2001:db9::1"),
        ("2001:db8::1:0/124", "2001:db8::1:f", "2001:db9::1"),
        ("200::/8", "2ab::1", "3ab::1"),
        ("fd00:ec2::254/128", "fd00:ec2::254", "fd00:ec2::253"),
    ],
)
def test_networks_as_patterns(network: str, inside: str, outside: str) -> None:
    globs = SiteList((), (ip_network(network),)).globs
    assert any(_matches(inside, glob) for glob in globs)
    assert not any(_matches(outside, glob) for glob in globs)
