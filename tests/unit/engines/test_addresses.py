"""Which addresses the reader refuses to connect to."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from tests.support.site import Site
from tests.unit.engines.reading import read
from vibesurf_blocks.engines.reader.addresses import (
    AddressRefusedError,
    NameUnknownError,
    resolve,
)
from vibesurf_blocks.sites import Sites, no_site

ANY = Sites.of((), ())


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
    ],
)
def test_refuses_metadata_services_and_what_is_no_host(address: str) -> None:
    assert no_site(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "93.184.215.14"]
)
def test_allows_public_private_and_loopback_addresses(address: str) -> None:
    assert no_site(ip_address(address)) is None


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "2852039166"])
async def test_refuses_an_address_however_it_is_written(host: str) -> None:
    with pytest.raises(AddressRefusedError, match=r"169\.254\.169\.254"):
        await resolve(host, 80, ANY)


async def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to a metadata service when it is asked for a second time."""
    answers = ["127.0.0.1", "169.254.169.254"]
    asked: list[str] = []
    really = socket.getaddrinfo

    def rebinding(host: str | bytes | None, *args: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "rebinds.example":
            return really(host, *args, **more)  # type: ignore[arg-type]
        asked.append(name)
        return really(answers[min(len(asked), len(answers)) - 1], *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    site.html("/", "<h1>Checked</h1>")
    netloc = f"rebinds.example:{site.port}"
    outcome, steps, _ = await read(f"Read http://{netloc}/", request_timeout=2.0)
    assert steps[0].ok, outcome.error
    assert len(asked) == 1
    assert site.hits["/"] == 1
    assert site.headers_seen["/"]["Host"] == netloc


async def test_says_when_a_name_is_no_name() -> None:
    with pytest.raises(NameUnknownError):
        await resolve("x" * 64 + ".example", 80, ANY)
