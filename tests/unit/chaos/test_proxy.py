"""The proxy passes on, cuts, holds, and passes on again; over TCP and over local sockets."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.driver.proxy import Proxy
from vibesurf_blocks.stack.ready import free_port


@contextmanager
def echo(path: Path) -> Iterator[None]:
    """A server that says back what it is told."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    def talk(client: socket.socket) -> None:
        with client:
            while said := client.recv(100):
                client.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def ended(client: socket.socket) -> bool:
    """Whether the other side ends the connection, in order or not."""
    try:
        return client.recv(100) == b""
    except ConnectionError:
        return True


def test_it_cuts_holds_and_restores(tmp_path: Path) -> None:
    port = free_port()
    with echo(tmp_path / "s"), Proxy(port, tmp_path / "s") as proxy:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"one")
            assert client.recv(100) == b"one"
            proxy.cut()
            assert ended(client)
        proxy.restore()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"two")
            assert client.recv(100) == b"two"
            proxy.stall()
            client.sendall(b"three")
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(100)
            proxy.restore()
            client.settimeout(5)
            assert client.recv(100) == b"three"


def test_it_stands_before_a_local_socket(tmp_path: Path) -> None:
    with echo(tmp_path / "s"), Proxy(tmp_path / "p", tmp_path / "s"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        with client:
            client.connect(str(tmp_path / "p"))
            client.sendall(b"said")
            assert client.recv(100) == b"said"


def test_it_changes_the_order_of_answers_on_two_connections(tmp_path: Path) -> None:
    port = free_port()
    with echo(tmp_path / "s"), Proxy(port, tmp_path / "s", late=(0.05, 0.5)) as proxy:
        clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(2)]
        proxy.slow()
        firsts = set()
        for _ in range(50):
            for number, client in enumerate(clients):
                client.sendall(str(number).encode())
            ready, _, _ = select.select(clients, [], [], 5)
            firsts.add(ready[0].recv(100))
            for client in clients:
                if client is not ready[0]:
                    client.recv(100)
            if len(firsts) == 2:
                break
        assert firsts == {b"0", b"1"}
        for client in clients:
            client.close()
