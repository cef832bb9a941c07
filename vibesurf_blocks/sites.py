"""Which hosts an agent may fetch from: the settings' lists, and what nobody wants fetched.

Addresses that are no web sites are refused unless the settings name them, link-local metadata
services above all: what they hand out are the keys of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    ip_address("169.254.169.254"): "AWS, Azure, Google Cloud and others, link-local",
    ip_address("169.254.170.2"): "AWS ECS, link-local",
    ip_address("169.254.170.23"): "AWS EKS, link-local",
    ip_address("fd00:ec2::254"): "AWS",
    ip_address("fd00:ec2::23"): "AWS EKS",
    ip_address("fd20:ce::254"): "Google Cloud",
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
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_UNSITED: Final[tuple[Network, ...]] = (
    *(ip_network(address) for address in _METADATA),
    _THIS_NETWORK,
    *(ip_network(one) for one in ("169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")),
    *(ip_network(one) for one in ("::/128", "fe80::/10", "ff00::/8")),
)
# How far a network is split, in bits, where a part of it is to be left out of a browser's rules.
_SPLIT_BITS: Final = 16
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


def written(address: Address) -> str:
    """An address as browsers write it: in its shortest form, and in hexadecimal where it is IPv6.

    Python from 3.13 on writes the last four octets of `::ffff:7f00:1` in decimal.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if mapped is None:
        return str(address)
    high, low = divmod(int(mapped), 1 << 16)
    return f"::ffff:{high:x}:{low:x}"


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
        return any(True for _ in self._around(address))

    def names_address(self, address: Address) -> bool:
        """Whether an entry means this address, which is that of no site, and no more than such.

        A network that has sites too does not mean it, and a metadata service is meant by its own
        address alone.
        """
        return any(_is_single(one) or _means(one, address) for one in self._around(address))

    def _around(self, address: Address) -> Iterator[Network]:
        inner = embedded(address) if isinstance(address, IPv6Address) else None
        for one in self.networks:
            if address in one or (inner is not None and inner in one):
                yield one

    @property
    def name_globs(self) -> tuple[str, ...]:
        """The names as patterns of what a browser writes as a host; `*` for any characters."""
        found: list[str] = []
        for name in self.names:
            found += [name, name[2:]] if name.startswith("*.") else [name]
        return tuple(found)

    @property
    def globs(self) -> tuple[str, ...]:
        """All entries as such patterns, addresses in every spelling that stands for them."""
        networks = [
            glob for one in self.networks for glob in (*_globs(one), *_embedding_globs(one))
        ]
        return (*self.name_globs, *networks)

    def meets(self, glob: str) -> bool:
        """Whether one of the names is among the hosts that a pattern of names stands for."""
        if not glob.startswith("*."):
            return self.has_name(glob)
        ending = glob[1:]
        return any(
            one == "*" or one.endswith(ending) or (one[0] == "*" and ending.endswith(one[1:]))
            for one in self.names
        )


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
        reason = no_site(address)
        if reason is not None and not self.allowed.names_address(address):
            return reason
        if self.allowed and not (self.allowed.has_address(address) or self.allowed.has_name(host)):
            return _NOT_ALLOWED
        return None

    def resolver_rules(self, *needed: str) -> str:
        """The value of Chromium's `--host-resolver-rules` that keeps it from other hosts.

        It goes by names and by addresses that stand in an URL, for all that a page asks for, not by
        the addresses that names have.

        Args:
            needed: Hosts it has to reach in any case, such as a proxy.
        """
        # What is excluded from the rules is so from all of them: no pattern may take in a host that
        # is denied, even if hosts that are allowed are lost to it.
        everywhere = not self.allowed or "*" in self.allowed.names
        kept = [*self._kept_names(everywhere), *self._kept_networks(everywhere), *needed]
        refused = [*self.denied.globs, *(_NO_SITES if everywhere else ("*",))]
        return ", ".join(
            [
                *(f"MAP {glob} ~NOTFOUND" for glob in refused),
                *(f"EXCLUDE {glob}" for glob in kept),
            ]
        )

    def _kept_names(self, everywhere: bool) -> Iterator[str]:
        """Patterns of the names that are allowed and that a rule would keep a browser from."""
        refused = [*self.denied.names]
        refused += [name for name in _METADATA_NAMES if name not in self.allowed.names]
        those = SiteList(tuple(refused), ())
        for glob in self.allowed.name_globs:
            if not those.meets(glob) and (not everywhere or glob in _METADATA_NAMES):
                yield glob

    def _kept_networks(self, everywhere: bool) -> Iterator[str]:
        """Patterns of the networks likewise, without the parts that are denied or no sites."""
        denied = _embedding(self.denied.networks)
        metadata = _embedding(ip_network(address) for address in _METADATA)
        unsited = _embedding(_UNSITED)
        for network in self.allowed.networks:
            no_sites = any(_within(network, one) for one in unsited)
            if no_sites or not everywhere:
                holes = [] if _is_single(network) else metadata if no_sites else unsited
                yield from _without(network, [*denied, *holes])


_DENIED: Final = "denied by VIBESURF_SITES_DENIED"
_NOT_ALLOWED: Final = "not among VIBESURF_SITES_ALLOWED"


def _is_name(entry: str) -> bool:
    labels = entry.removeprefix("*.").split(".")
    return entry == "*" or all(
        label and label.replace("-", "").replace("_", "").isalnum() and label.isascii()
        for label in labels
    )


def _is_single(network: Network) -> bool:
    return network.prefixlen == network.max_prefixlen


def _means(network: Network, address: Address) -> bool:
    """Whether a network has no sites at all, and the address is not of a metadata service."""
    inner = embedded(address) if isinstance(address, IPv6Address) else None
    if address in _METADATA or inner in _METADATA:
        return False
    return any(_within(network, one) for one in _embedding(_UNSITED))


def _within(network: Network, other: Network) -> bool:
    return network.prefixlen >= other.prefixlen and network.network_address in other


def _overlap(network: Network, other: Network) -> bool:
    return _within(network, other) or _within(other, network)


def _embedding(networks: Iterable[Network]) -> list[Network]:
    """Networks, and those of the IPv6 addresses that stand for their IPv4 addresses."""
    found: list[Network] = []
    for network in networks:
        found.append(network)
        if isinstance(network, IPv4Network):
            first, length = int(network.network_address), network.prefixlen
            found += [
                IPv6Network((int(one.network_address) | first, 96 + length))
                for one in (_MAPPED, _NAT64, _COMPATIBLE)
            ]
            found.append(
                IPv6Network((int(_SIX_TO_FOUR.network_address) | first << 80, 16 + length))
            )
    return found


def _aligned(network: Network) -> Iterator[Network]:
    """The parts of a network that end where a pattern can: at an octet, at a hexadecimal digit."""
    step = 8 if network.version == 4 else 4
    yield from network.subnets(new_prefix=-(-network.prefixlen // step) * step)


def _without(network: Network, holes: Sequence[Network]) -> Iterator[str]:
    """Patterns of a network that match nothing of some others, and perhaps too little."""
    for part in _aligned(network):
        covered = _shown(part)[1] if isinstance(part, IPv6Network) else part
        met = [one for one in holes if _overlap(covered, one)]
        if not met:
            yield from _globs(part)
        elif part.prefixlen < _SPLIT_BITS and not any(_within(part, one) for one in met):
            for smaller in part.subnets(new_prefix=part.prefixlen + 1):
                yield from _without(smaller, met)


def _globs(network: Network) -> list[str]:
    """Patterns of a network's addresses; where none fits exactly, of a few more.

    In Chromium's patterns `?` is one character or none: `10.???.???.???` keeps most names out,
    which `10.*` would not.
    """
    if _is_single(network):
        return [written(network.network_address)]
    found: list[str] = []
    for one in _aligned(network):
        if isinstance(one, IPv4Network):
            octets = str(one.network_address).split(".")[: one.prefixlen // 8]
            found.append(".".join([*octets, *["???"] * (4 - len(octets))]))
        else:
            groups, _ = _shown(one)
            found.append(":".join([*groups, "*"]) if groups else "*:*")
    return list(dict.fromkeys(found))


def _shown(network: IPv6Network) -> tuple[list[str], IPv6Network]:
    """The groups that every address of a network begins with, and the network of all that do.

    Groups of zeros may be left out where they are written, so it ends before the first.
    """
    if _is_single(network):
        return [], network
    digits = network.network_address.exploded.replace(":", "")[: min(network.prefixlen, 112) // 4]
    shown: list[str] = []
    for at in range(0, len(digits), 4):
        group = digits[at : at + 4]
        if not group.strip("0"):
            return shown, network.supernet(new_prefix=at * 4)
        shown.append(group.lstrip("0") + "?" * (4 - len(group)))
    return shown, network.supernet(new_prefix=len(digits) * 4)


def _embedding_globs(network: Network) -> Iterator[str]:
    """Patterns of the IPv6 addresses that stand for a network's IPv4 addresses.

    Browsers write them in hexadecimal, and leave out the longest run of zeros.
    """
    if not isinstance(network, IPv4Network):
        return
    for one in _aligned(network):
        octets = [*one.network_address.packed[: one.prefixlen // 8]]
        high, low = _group(octets[:2]), _group(octets[2:])
        yield f"::ffff:{high}:{low}"
        if high == "0":
            yield f"64:ff9b::{low if low != '0' else ''}"
            yield "2002::*"
        else:
            yield f"64:ff9b::{high}:{low}"
            yield f"::{high}:{low}"
            yield f"2002:{high}:{low}:*"
            if low == "0":
                yield f"2002:{high}::*"


def _group(octets: Sequence[int]) -> str:
    """A pattern of a group of an IPv6 address of which none, one or two octets are known."""
    if not octets:
        return "????"
    if len(octets) == 1:
        return f"{octets[0]:x}??" if octets[0] else "???"
    return f"{octets[0] << 8 | octets[1]:x}"


# What a browser is told besides the lists. It writes addresses in their shortest form.
_NO_SITES: Final = (
    *_METADATA_NAMES,
    *SiteList((), _UNSITED).globs,
)
