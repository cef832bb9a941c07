"""The fork server: a single-threaded process that imports once and forks children on request.

It speaks JSON lines over socket pairs, so nothing can be reached through the file system. Each
connection owns the children it asked for: when the connection ends, however its owner ended, their
process groups are killed. When the fork server itself dies, the kernel kills its children (Linux).
It never runs a child's code and therefore cannot be held up by one.

`multiprocessing`'s forkserver is not used because its children keep it alive, import the main
module again (0.2 s), share one process group and outlive the process that asked for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

CONNECTION_ENV = "VIBESURF_FORKSERVER_FD"
"""Names the inherited socket through which a child may ask the fork server for children itself."""

_YOUNG_OBJECTS = 10_000
"""New objects after which the garbage collector runs, in the children."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a forked child is to do."""

    name: str
    target: str
    kwargs: dict[str, Any]
    env: dict[str, str]
    cwd: str | None
    connection: socket.socket | None


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    pids: set[int] = field(default_factory=set)

    def send(self, message: dict[str, object]) -> None:
        # A peer that is gone or does not read is noticed by the read side.
        with contextlib.suppress(OSError):
            self.sock.sendall(json.dumps(message).encode() + b"\n")


class _Forked(Exception):
    """Unwinds the server's stack in a freshly forked child."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class _Server:
    def __init__(self, first: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._wakeup_read, self._wakeup_write = socket.socketpair()
        self._add(first)
        self._first = first.fileno()

    def serve(self) -> None:
        """Serve until the first connection ends; then kill every child."""
        for end in (self._wakeup_read, self._wakeup_write):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The terminal's Ctrl-C goes to the owner, which decides what happens to its children.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._selector.register(self._wakeup_read, selectors.EVENT_READ)
        self._connections[self._first].send({"ready": os.getpid()})
        while self._first in self._connections:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakeup_read:
                    with contextlib.suppress(BlockingIOError):
                        self._wakeup_read.recv(4096)
                    self._reap()
                else:
                    self._read(key.fd)
        for descriptor in list(self._connections):
            self._drop(descriptor)

    def _add(self, sock: socket.socket) -> None:
        self._connections[sock.fileno()] = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ)

    def _drop(self, descriptor: int) -> None:
        connection = self._connections.pop(descriptor)
        self._selector.unregister(connection.sock)
        connection.sock.close()
        for pid in connection.pids:
            _kill_group(pid, signal.SIGKILL)

    def _read(self, descriptor: int) -> None:
        connection = self._connections.get(descriptor)
        if connection is None:
            return
        try:
            received = connection.sock.recv(1 << 16)
        except OSError:
            received = b""
        if not received:
            self._drop(descriptor)
            return
        connection.buffer += received
        while (end := connection.buffer.find(b"\n")) >= 0:
            line = bytes(connection.buffer[:end])
            del connection.buffer[: end + 1]
            self._handle(connection, json.loads(line))

    def _handle(self, connection: _Connection, request: dict[str, Any]) -> None:
        if request["op"] == "signal":
            if request["pid"] in connection.pids:
                _kill_group(request["pid"], request["signal"])
            return
        ours, theirs = socket.socketpair() if request["connect"] else (None, None)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(parent, keep=theirs)
            raise _Forked(
                Plan(
                    request["name"],
                    request["target"],
                    request["kwargs"],
                    request["env"],
                    request["cwd"],
                    theirs,
                )
            )
        if ours is not None and theirs is not None:
            theirs.close()
            self._add(ours)
        connection.pids.add(pid)
        connection.send({"id": request["id"], "pid": pid})

    def _become_child(self, parent: int, *, keep: socket.socket | None) -> None:
        os.setsid()
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        sockets: Iterable[socket.socket] = [c.sock for c in self._connections.values()]
        for sock in (*sockets, self._wakeup_read, self._wakeup_write):
            if sock is not keep:
                sock.close()

    def _reap(self) -> None:
        while (pid := _next_dead()) is not None:
            # Whatever the child left running in its group goes with it.
            _kill_group(pid, signal.SIGKILL)
            try:
                _, status = os.waitpid(pid, 0)
            except ChildProcessError:
                continue
            for connection in self._connections.values():
                if pid in connection.pids:
                    connection.pids.discard(pid)
                    connection.send({"exit": pid, "code": os.waitstatus_to_exitcode(status)})


def _next_dead() -> int | None:
    """A child that has ended and is not reaped yet, so that its group id cannot be reused."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return dead.si_pid if dead is not None else None


def _kill_group(pid: int, number: int) -> None:
    """Signal a child's group, or the child alone where it has not made its group yet."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _run(plan: Plan) -> int:
    """Run a plan in the forked child and return its exit code."""
    if _libc is not None:
        # What `ps` and `top` show: all children share one command line.
        _libc.prctl(_PR_SET_NAME, plan.name.encode()[:15], 0, 0, 0)
    os.environ.clear()
    os.environ.update(plan.env)
    if plan.connection is not None:
        plan.connection.set_inheritable(False)
        os.environ[CONNECTION_ENV] = str(plan.connection.detach())
    if plan.cwd is not None:
        os.chdir(plan.cwd)
    random.seed()
    module, _, name = plan.target.partition(":")
    try:
        code = getattr(importlib.import_module(module), name)(**plan.kwargs)
    except Exception:  # noqa: BLE001 - the last place that can say why a child failed
        traceback.print_exc()
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """Import what is to be warm, then fork children until the owner is gone.

    Called as `python -m vibesurf_blocks.processes.forkserver FD MODULE…`.
    """
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    for module in sys.argv[2:]:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 - a preload is a convenience; the child reports it anew
            traceback.print_exc()
    gc.collect()
    # Without this the first collection in each child would copy every shared page.
    gc.freeze()
    # By default the collector runs some hundred times on a child's way to what it is for.
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    server = _Server(connection)
    try:
        server.serve()
    except _Forked as forked:
        del server
        plan = forked.plan
    else:
        return
    sys.exit(_run(plan))


if __name__ == "__main__":
    main()
