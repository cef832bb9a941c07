"""Breaks a stack: kills and freezes parts, cuts connections, fills the disk."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import psutil

from tests.chaos.driver.arena import Arena
from tests.chaos.driver.plan import KILLS, OTHERS, Planned

_PARTS = {"worker", "mirror", "api", "prefect"}


def possible(arena: Arena) -> list[str]:
    """The faults that can be had here; a disk can be filled by root alone."""
    missing = set()
    if not arena.disk.real:
        missing.add("fill-disk")
    if not arena.postgres:
        missing |= {"kill-database", "freeze-database", "cut-database"}
    return [name for name in KILLS | OTHERS if name not in missing]


class Faults:
    """Does what is planned.

    Attributes:
        broken: The faults that are on now.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._stack = arena.stack
        self.broken: set[str] = set()

    async def do(self, fault: Planned) -> bool:
        """Do one fault to its end; whether there was anything to do it to."""
        kind, _, part = fault.name.partition("-")
        self.broken.add(fault.name)
        try:
            match kind:
                case "kill" if part == "stack":
                    return await self._kill_stack()
                case "kill":
                    return self._signal(self._victims(part, fault.choice), signal.SIGKILL)
                case "freeze":
                    return await self._freeze(part, fault)
                case _:
                    return await self._break(fault)
        finally:
            self.broken.discard(fault.name)

    async def _kill_stack(self) -> bool:
        """Kill the head; the rest follows by itself, and the stack is started again."""
        self._stack.process.kill()
        await asyncio.to_thread(self._stack.process.wait, 10)
        # What is not gone by itself is found by the next start, as after any crash.
        await asyncio.to_thread(self._arena.start)
        return True

    async def _freeze(self, part: str, fault: Planned) -> bool:
        victims = self._victims(part, fault.choice)
        found = self._signal(victims, signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.lasts if found else 0)
        finally:
            self._signal(victims, signal.SIGCONT)
        return found

    async def _break(self, fault: Planned) -> bool:
        database = self._arena.database or self._arena.prefect
        actions: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "cut-prefect": (self._arena.prefect.cut, self._arena.prefect.restore),
            "stall-prefect": (self._arena.prefect.stall, self._arena.prefect.restore),
            "slow-prefect": (self._arena.prefect.slow, self._arena.prefect.restore),
            "cut-database": (database.cut, database.restore),
            "fill-disk": (self._arena.disk.fill, self._arena.disk.free),
        }
        begin, end = actions[fault.name]
        begin()
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            end()
        return True

    def _victims(self, part: str, choice: float) -> list[psutil.Process]:
        """The processes to hit: all of PostgreSQL, else one."""
        if part == "database":
            return self._named(lambda one: one.name() == "postgres")
        if part in _PARTS:
            found = self._stack.parts(part)
        elif part == "child":
            found = self._stack.parts("run")
        elif part == "browser":
            found = self._named(lambda one: "chrom" in one.name() and "--type=" not in _line(one))
        else:
            found = self._named(lambda one: "processes.forkserver" in _line(one))
        found.sort(key=lambda one: one.pid)
        return found[int(choice * len(found)) :][:1]

    def _named(self, fits: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
        found = []
        for one in self._stack.processes():
            with suppress(psutil.Error):
                if fits(one):
                    found.append(one)
        return found

    def _signal(self, victims: list[psutil.Process], number: signal.Signals) -> bool:
        done = False
        for one in victims:
            with suppress(psutil.Error):
                one.send_signal(number)
                done = True
        return done


def _line(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


async def until(moment: float) -> None:
    """Wait for a time of the monotonic clock: the pace of a plan is a time."""
    await asyncio.sleep(max(0.0, moment - monotonic()))
