"""Two hosts as network namespaces, each with a link to a centre that can be cut and one that stays.

The centre is this machine's own namespace. Needs root and `ip`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import SHUT_WR, create_connection, socket

from tests.support.databases import unavailable


@dataclass(frozen=True)
class Network:
    """Where everything is.

    Attributes:
        namespaces: Names of the hosts' namespaces.
        center: Address of the centre, over the links that can be cut.
        hosts: Addresses of the hosts over those.
        outside: Address of the centre over the links that stay: the web sites of the agents.
    """

    namespaces: tuple[str, str]
    center: str
    hosts: tuple[str, str]
    outside: str

    def cut(self, host: int) -> None:
        """Take the link of a host to the centre down."""
        _ip("link", "set", f"{self.namespaces[host]}c", "down")

    def mend(self, host: int) -> None:
        """Take it up again."""
        _ip("link", "set", f"{self.namespaces[host]}c", "up")


@contextmanager
def network() -> Iterator[Network]:
    """Make the namespaces and links, and take them away afterwards."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        unavailable("network namespaces need root and the program ip")
    token, number = secrets.token_hex(2), 100 + secrets.randbelow(100)
    spaces = (f"vs{token}1", f"vs{token}2")
    center, outside = f"10.{number}.0.1", f"10.{number}.200.1"
    hosts = (f"10.{number}.1.2", f"10.{number}.2.2")
    try:
        for address in (center, outside):
            _ip("addr", "add", f"{address}/32", "dev", "lo")
        for place, space in enumerate(spaces, 1):
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            for letter, net, target in (("c", place, center), ("o", 200 + place, outside)):
                near, far = f"{space}{letter}", f"{space}{letter}h"
                _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
                _ip("addr", "add", f"10.{number}.{net}.1/24", "dev", near)
                _ip("link", "set", near, "up")
                _ip("-n", space, "addr", "add", f"10.{number}.{net}.2/24", "dev", far)
                _ip("-n", space, "link", "set", far, "up")
                gateway = f"10.{number}.{net}.1"
                _ip("-n", space, "route", "add", target, "via", gateway)
        yield Network(spaces, center, hosts, outside)
    finally:
        for space in spaces:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", space)
        for address in (center, outside):
            with suppress(subprocess.CalledProcessError):
                _ip("addr", "del", f"{address}/32", "dev", "lo")


@contextmanager
def relay(host: str, target: tuple[str, int]) -> Iterator[int]:
    """Pass connections to a port of this address on to a target; the port."""

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), create_connection(target) as there:
                back = threading.Thread(target=_pump, args=(there, self.request), daemon=True)
                back.start()
                _pump(self.request, there)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server((host, 0), Passing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _pump(source: socket, sink: socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(SHUT_WR)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
