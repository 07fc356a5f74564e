"""Which addresses on the net a request may reach: the public ones, and those that were allowed by name.

A host is judged twice: as it is written, when a task is submitted, and by every address it resolves to, right
before the connection is made to that very address.
"""

from __future__ import annotations

import asyncio
import re
import socket
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from penstock.errors import ConfigurationError

Address = IPv4Address | IPv6Address

# IANA's special-purpose registries; whatever is not public unicast has a name here.
_FORBIDDEN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a metadata", ("169.254.169.254/32", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32")),
    ("a loopback", ("127.0.0.0/8", "::1/128")),
    ("an unspecified", ("0.0.0.0/8", "::/128")),
    ("a link-local", ("169.254.0.0/16", "fe80::/10")),
    ("a private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("a carrier's private", ("100.64.0.0/10",)),
    ("a multicast", ("224.0.0.0/4", "ff00::/8")),
    ("a broadcast", ("255.255.255.255/32",)),
    ("a reserved", ("240.0.0.0/4", "192.0.0.0/24", "192.88.99.0/24", "100::/64")),
    ("a documentation", ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("a benchmark", ("198.18.0.0/15", "2001:2::/48")),
    ("an IPv4-mapped", ("::ffff:0:0/96", "::ffff:0:0:0/96")),
    ("an IPv4-compatible", ("::/96",)),
    ("a 6to4", ("2002::/16",)),
    ("a Teredo", ("2001::/32",)),
    ("a local NAT64", ("64:ff9b:1::/48",)),
    ("a reserved", ("2001::/23", "5f00::/16")),
)
_NETWORKS = [(name, ip_network(text)) for name, texts in _FORBIDDEN for text in texts]
_NAT64 = IPv6Network("64:ff9b::/96")
_PUBLIC_V6 = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_PLAIN_V4 = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_PORTS = {"http": 80, "https": 443}
_RULE = "requests go to public ones only, and to allowed hosts"


class Forbidden(ValueError):
    """An address that requests may not go to."""


class Target(NamedTuple):
    """Where a URL leads: `host` in lower-case ASCII, addresses without brackets; `rest` is path and query."""

    scheme: str
    host: str
    port: int
    rest: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def literal(self) -> Address | None:
        """The host as an address, when it is written as one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def read_url(url: str) -> Target:
    """Where this URL leads, by the strictest reading: what two readers could take for two different hosts is
    refused. Raises `ValueError` that says why and repeats nothing that could be secret."""
    if any(ord(sign) <= 0x20 or 0x7F <= ord(sign) <= 0xA0 or sign == "\\" for sign in url):
        raise ValueError("must not hold spaces, control characters or backslashes")
    if any("\ud800" <= sign <= "\udfff" for sign in url):
        raise ValueError("must not hold halves of characters")
    found = _URL.fullmatch(url)
    if found is None or found["scheme"].lower() not in _PORTS:
        raise ValueError("must begin with http:// or https://")
    scheme, authority = found["scheme"].lower(), found["authority"]
    if "@" in authority:
        raise ValueError("must not hold a user or password; put credentials into a header")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or not parts["host"]:
        raise ValueError("its host or port cannot be read")
    port = int(parts["port"]) if parts["port"] else _PORTS[scheme]
    if not 1 <= port <= 65_535:
        raise ValueError("its port must be between 1 and 65535")
    rest = found["rest"].split("#", 1)[0]
    return Target(scheme, _read_host(parts["host"]), port, rest if rest.startswith("/") else f"/{rest}")


def _read_host(host: str) -> str:
    if host.startswith("["):
        if "%" in host:
            raise ValueError("its address must have no zone")
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError("its host is no IPv6 address") from None
    if not host.isascii():
        host = _in_ascii(host)
    host = host.lower()
    if host.endswith("."):
        raise ValueError("its host must not end with a dot")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("its host is no valid name")
    if _NUMBER.fullmatch(labels[-1]):  # such a host is an address to everybody, in one of many odd spellings
        if not _PLAIN_V4.fullmatch(host):
            raise ValueError("its host is an oddly written address; write it as four decimal numbers")
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise ValueError("its host is no IPv4 address") from None
    return host


def _in_ascii(host: str) -> str:
    import httpx2

    if unicodedata.normalize("NFKC", host) != host:
        raise ValueError("its host holds characters that stand for others")
    try:
        return httpx2.URL(scheme="https", host=host).raw_host.decode("ascii")
    except httpx2.InvalidURL:
        raise ValueError("its host is no valid name") from None


def forbidden(address: Address) -> str | None:
    """What kind of address this is, such as "a private"; `None` for a public one."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "a zoned"
        if address in _NAT64:
            return forbidden(IPv4Address(int(address) & 0xFFFFFFFF))
    for name, network in _NETWORKS:
        if address.version == network.version and address in network:
            return name
    if isinstance(address, IPv6Address):
        if address not in _PUBLIC_V6:
            return "a reserved"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "an ISATAP"
    return None


@dataclass(frozen=True)
class AllowedHosts:
    """Hosts that may be reached although they are not public: names, addresses and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = field(default=())

    @classmethod
    def read(cls, hosts: Sequence[str]) -> AllowedHosts:
        """From texts such as "intranet.example", "10.1.2.3", "10.0.0.0/8", "::1"."""
        names, networks = set(), []
        for text in hosts:
            try:
                networks.append(ip_network(text.strip("[]")))
                continue
            except ValueError:
                pass
            try:
                names.add(_read_host(text))
            except ValueError as error:
                raise ConfigurationError(f"allowed host {text!r}: {error}") from None
        return cls(frozenset(names), tuple(networks))

    def allow(self, host: str, address: Address) -> bool:
        inside = any(address.version == one.version and address in one for one in self.networks)
        return inside or host in self.names

    def check_literal(self, target: Target) -> None:
        """Raise `Forbidden` for what can be told without asking for addresses."""
        address = target.literal
        if address is not None:
            self._check(target.host, address)
        elif target.host.split(".")[-1] == "localhost" and not any(
            self.allow(target.host, ip_address(one)) for one in ("127.0.0.1", "::1")
        ):
            # Whether it resolves here or not, it means this machine.
            raise Forbidden(f"{target.host} is a loopback address; {_RULE}")

    async def resolve(self, target: Target) -> list[str]:
        """The addresses of the host, each of them checked. Raises `Forbidden` when one is not to be reached,
        `OSError` when there is none."""
        self.check_literal(target)
        if target.literal is not None:
            return [target.host]
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for text in addresses:
            self._check(target.host, ip_address(text))
        return addresses

    def _check(self, host: str, address: Address) -> None:
        kind = forbidden(address)
        if kind is not None and not self.allow(host, address):
            what = host if host == str(address) else f"{host} ({address})"
            raise Forbidden(f"{what} is {kind} address; {_RULE}")


@lru_cache(maxsize=16)
def allowed_hosts_of(texts: tuple[str, ...]) -> AllowedHosts:
    """`AllowedHosts.read`, once for each list."""
    return AllowedHosts.read(texts)
