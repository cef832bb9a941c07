"""Asks a fork server for children and waits for their ends, from asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.processes.forkserver import CONNECTION_ENV

_STOP_SECONDS = 5.0


class Child:
    """A child process that leads a process group of its own.

    Attributes:
        pid: Its process id, which is its group's id too.
    """

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for the signal that ended it, None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group; nothing happens when it has ended."""
        if not self._ended.done():
            self._server._send({"op": "signal", "pid": self.pid, "signal": int(number)})

    async def stop(self, grace: float = _STOP_SECONDS) -> int:
        """End it: SIGTERM, and SIGKILL for the group after `grace` seconds."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.wait()

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


class ForkServer:
    """A connection to a fork server, which it starts when there is none to share.

    Use as an async context manager; leaving it kills every child asked for through it.
    """

    def __init__(
        self, preload: Sequence[str] = (), *, env: Mapping[str, str] | None = None
    ) -> None:
        """Name the modules that children find imported, and the environment to import them in.

        The environment is this process's where none is given, and counts for a new server only.
        """
        self._preload = tuple(preload)
        self._server_env = None if env is None else dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ids = itertools.count()
        self._asked: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> ForkServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._reading is not None and not self._reading.done()

    async def start(self) -> None:
        """Connect, to the fork server this process was forked from or else to a new one."""
        async with self._starting:
            if self.alive:
                return
            inherited = os.environ.pop(CONNECTION_ENV, None)
            if inherited is not None:
                ours = socket.socket(fileno=int(inherited))
            else:
                ours, theirs = socket.socketpair()
                with theirs:
                    theirs.set_inheritable(True)
                    self._process = subprocess.Popen(  # noqa: ASYNC220 - returns after the fork
                        [
                            sys.executable,
                            "-m",
                            "vibesurf_blocks.processes.forkserver",
                            str(theirs.fileno()),
                            *self._preload,
                        ],
                        pass_fds=[theirs.fileno()],
                        env=self._server_env,
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,
                    )
            reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 24)
            self._reading = asyncio.create_task(self._read(reader), name="forkserver-replies")

    async def spawn(
        self,
        target: str,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str = "vibesurf",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        connect: bool = False,
    ) -> Child:
        """Start a child that calls `target` (`module:function`) and ends with what it returns.

        Args:
            target: What to call; an int it returns is the exit code.
            kwargs: Keyword arguments, JSON-serialisable.
            name: What `ps -o comm` shows, 15 bytes at the most (Linux).
            env: The child's whole environment; by default this process's.
            cwd: Its working directory; by default the fork server's.
            connect: Whether the child may ask the same fork server for children of its own.

        Raises:
            StackError: The fork server ended before it answered.
        """
        request: dict[str, object] = {
            "op": "spawn",
            "name": name,
            "target": target,
            "kwargs": dict(kwargs or {}),
            "env": dict(os.environ if env is None else env),
            "cwd": cwd,
            "connect": connect,
        }
        try:
            return await self._ask(request)
        except StackError:
            # The server died; a new one is started, once.
            return await self._ask(request)

    async def _ask(self, request: dict[str, object]) -> Child:
        if not self.alive:
            await self.start()
        number = next(self._ids)
        answer: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._send({**request, "id": number})
        return await answer

    async def close(self) -> None:
        """Disconnect, which kills every child that is left, and end a server started here."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        if self._process is not None:
            process, self._process = self._process, None
            try:
                await asyncio.to_thread(process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)

    def _send(self, message: dict[str, object]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if "pid" in message:
                    child = Child(self, message["pid"])
                    self._children[child.pid] = child
                    answer = self._asked.pop(message["id"])
                    if answer.done():  # nobody waits for it any more
                        child.signal(signal.SIGKILL)
                    else:
                        answer.set_result(child)
                elif "exit" in message and (child_ := self._children.pop(message["exit"], None)):
                    child_._end(message["code"])
        except (OSError, ValueError):
            pass  # a broken connection is an ended one
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(StackError("The fork server ended unexpectedly."))
            self._asked.clear()
            for child in self._children.values():
                # A fork server that was killed cannot end what its children left running.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child._end(-signal.SIGKILL)
            self._children.clear()
            if self._process is not None:
                # Reaped here, so that a restart leaves no zombie.
                self._process.poll()


def how_it_ended(code: int) -> str:
    """What to say of a process by its exit code, negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
