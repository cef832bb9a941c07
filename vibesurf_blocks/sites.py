"""Which hosts an agent may fetch from: the settings' lists, and what nobody wants fetched.

Addresses that are no web sites are refused unless the settings name them, link-local metadata
services above all: what they hand out are the keys of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA: Final[dict[Address, str]] = {
    ip_address("fd00:ec2::254"): "AWS",
    ip_address("168.63.129.16"): "Azure",
    ip_address("100.100.100.200"): "Alibaba Cloud",
    ip_address("192.0.0.192"): "Oracle Cloud",
}
_METADATA_NAMES: Final = (
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
)
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
# What a browser is told besides the lists. It writes addresses in their shortest form.
_NO_SITES: Final = (
    *(f"{name}" for name in _METADATA_NAMES),
    *(str(address) for address in _METADATA),
    *("169.254.*", "0.*", "fe8?:*", "fe9?:*", "fea?:*", "feb?:*", "::", "ff??:*"),
    *("::ffff:a9fe:*", "64:ff9b::a9fe:*", "2002:a9fe:*", "::a9fe:*"),
)
WORDS: Final[dict[str, tuple[Network, ...]]] = {
    "loopback": (ip_network("127.0.0.0/8"), ip_network("::1/128")),
    "private": (
        ip_network("10.0.0.0/8"),
        ip_network("172.16.0.0/12"),
        ip_network("192.168.0.0/16"),
        ip_network("100.64.0.0/10"),
        ip_network("fc00::/7"),
    ),
}
"""Words that stand for networks in a list."""

_LOOPBACK_NAMES: Final = ("localhost", "*.localhost")


def no_site(address: Address) -> str | None:
    """Why an address is that of no web site, or None where it may be one.

    Loopback and private addresses may be: a page watcher is at home in a private network.
    """
    if address in _METADATA:
        return f"a metadata service of {_METADATA[address]}"
    if isinstance(address, IPv6Address):
        inner = embedded(address)
        if inner is not None:
            return no_site(inner)
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return "not the address of a host"
    if address.is_link_local:
        return "link-local, where cloud metadata services live"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, IPv4Address) and address.is_reserved:
        return "a reserved address"
    return None


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    # ::1 and :: lie in the range of IPv4-compatible addresses and are none.
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


@dataclass(frozen=True, slots=True)
class SiteList:
    """Entries of one list: host names, `*.example.org` for all under one, addresses, networks."""

    names: tuple[str, ...]
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Read the entries of a setting.

        Raises:
            ValueError: One is neither a name nor an address.
        """
        names: list[str] = []
        networks: list[Network] = []
        for entry in (one.lower() for one in entries):
            if entry in WORDS:
                networks += WORDS[entry]
                names += _LOOPBACK_NAMES if entry == "loopback" else ()
                continue
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if not _is_name(entry):
                    msg = (
                        f"{entry!r} must be a host name, *.example.org, an address, a network such "
                        "as 10.0.0.0/8, or the word loopback or private"
                    )
                    raise ValueError(msg) from None
                names.append(entry)
        return cls(tuple(names), tuple(networks))

    def __bool__(self) -> bool:
        return bool(self.names or self.networks)

    def has_name(self, host: str) -> bool:
        """Whether a host is named; `*.example.org` names example.org as well."""
        return any(
            one in {"*", host} or (one.startswith("*.") and f".{host}".endswith(one[1:]))
            for one in self.names
        )

    def has_address(self, address: Address) -> bool:
        """Whether an address, or the IPv4 address it stands for, is in one of the networks."""
        inner = embedded(address) if isinstance(address, IPv6Address) else None
        return any(address in one or (inner is not None and inner in one) for one in self.networks)

    @property
    def globs(self) -> tuple[str, ...]:
        """The entries as patterns of what a browser writes as a host; `*` for any characters."""
        found: list[str] = []
        for name in self.names:
            found += [name, name[2:]] if name.startswith("*.") else [name]
        for network in self.networks:
            found += _globs(network)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Sites:
    """What an agent may fetch.

    Attributes:
        allowed: Where it holds anything, nothing else may be fetched.
        denied: Goes before `allowed`.
    """

    allowed: SiteList
    denied: SiteList

    @classmethod
    def of(cls, allowed: Iterable[str], denied: Iterable[str]) -> Self:
        """Read two lists of settings.

        Raises:
            ValueError: An entry is neither a name nor an address.
        """
        return cls(SiteList.of(allowed), SiteList.of(denied))

    def refuses_host(self, host: str) -> str | None:
        """Why a host must not even be looked up, or None where its addresses decide."""
        host = host.lower().rstrip(".")
        try:
            return self.refuses(host, ip_address(host.strip("[]")))
        except ValueError:
            pass
        if self.denied.has_name(host):
            return _DENIED
        if self.allowed and not self.allowed.networks and not self.allowed.has_name(host):
            return _NOT_ALLOWED
        if host in _METADATA_NAMES and host not in self.allowed.names:
            return "the name of a cloud's metadata service"
        return None

    def refuses(self, host: str, address: Address) -> str | None:
        """Why an address that a host has must not be connected to, or None where it may."""
        host = host.lower().rstrip(".")
        if self.denied.has_name(host) or self.denied.has_address(address):
            return _DENIED
        named = self.allowed.has_address(address)
        if not named and (reason := no_site(address)) is not None:
            return reason
        if self.allowed and not named and not self.allowed.has_name(host):
            return _NOT_ALLOWED
        return None

    def resolver_rules(self, *needed: str) -> str:
        """The value of Chromium's `--host-resolver-rules` that keeps it from other hosts.

        It goes by names and by addresses that stand in an URL, for all that a page asks for, not by
        the addresses that names have.

        Args:
            needed: Hosts it has to reach in any case, such as a proxy.
        """
        kept = [*self.allowed.globs, *needed]
        rules = [f"MAP {glob} ~NOTFOUND" for glob in self.denied.globs]
        if self.allowed and "*" not in self.allowed.names:
            rules += ["MAP * ~NOTFOUND", *(f"EXCLUDE {glob}" for glob in kept)]
        else:
            rules += [f"MAP {glob} ~NOTFOUND" for glob in _NO_SITES]
            rules += [f"EXCLUDE {glob}" for glob in kept if glob != "*"]
        return ", ".join(rules)


_DENIED: Final = "denied by VIBESURF_SITES_DENIED"
_NOT_ALLOWED: Final = "not among VIBESURF_SITES_ALLOWED"


def _is_name(entry: str) -> bool:
    labels = entry.removeprefix("*.").split(".")
    return entry == "*" or all(
        label and label.replace("-", "").replace("_", "").isalnum() and label.isascii()
        for label in labels
    )


def _globs(network: Network) -> list[str]:
    """Patterns of a network's addresses; where none fits exactly, of a few more."""
    if isinstance(network, IPv4Network):
        length = -(-network.prefixlen // 8) * 8
        octets = length // 8
        return [
            ".".join(str(one.network_address).split(".")[:octets]) + (".*" if octets < 4 else "")
            if octets
            else "*.*.*.*"
            for one in network.subnets(new_prefix=length)
        ]
    if network.prefixlen == 128:
        return [str(network.network_address)]
    # Groups of zeros may be left out where they are written, so patterns end before the first.
    nibbles = network.prefixlen // 4
    text = network.network_address.exploded.replace(":", "")[:nibbles]
    groups = [text[at : at + 4] for at in range(0, len(text), 4)]
    shown: list[str] = []
    for group in groups:
        if len(group) < 4:
            return [":".join([*shown, group.ljust(4, "?") + ":*"])] if group.strip("0") else ["*:*"]
        if not group.strip("0"):
            break
        shown.append(group.lstrip("0"))
    return [":".join(shown) + ":*"] if shown else ["*:*"]
