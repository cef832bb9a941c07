"""What every line of the table works with, and how a line is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tests.benchmarks.rows import Row
from tests.benchmarks.site import Site
from tests.benchmarks.stack import Database, Stack, new_stack
from tests.benchmarks.stock import StockWorker

T = TypeVar("T")

NAMES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}


@dataclass(slots=True)
class Bench:
    """One round of measurements, on one database of the Prefect server.

    The stack and the stock worker are started by the first line that needs them and shared; so are
    measurements that give several lines, through `once`.
    """

    site: Site
    database: Database
    quick: bool
    runs: int | None
    _exits: AsyncExitStack
    _stack: Stack | None = None
    _stock: StockWorker | None = None
    _kept: dict[str, object] = field(default_factory=dict)

    def count(self, full: int, quick: int) -> int:
        """How many runs a line makes: as many as asked for, else by the mode."""
        return self.runs or (quick if self.quick else full)

    def name(self, what: str) -> str:
        """The name of a line that is measured once for each database."""
        return f"{what}, {NAMES[self.database]}"

    async def stack(self) -> Stack:
        """The running stack, warm: one run has ended on it."""
        if self._stack is None:
            self._stack = await self._exits.enter_async_context(new_stack(self.database))
            await self._stack.start()
            await self._stack.ended(await self._stack.submit(f"Read {self.site.page}"))
        return self._stack

    async def stock(self) -> StockWorker:
        """A stock process worker on the same server, with a pool of its own."""
        if self._stock is None:
            stack = await self.stack()
            self._stock = StockWorker(stack)
        return self._stock

    async def once(self, name: str, measure: Callable[[Bench], Awaitable[T]]) -> T:
        """What `measure` returned the first time it was asked for."""
        if name not in self._kept:
            self._kept[name] = await measure(self)
        return self._kept[name]  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table, or a few that are measured together.

    Attributes:
        name: For `--only`.
        measure: Takes the measurements.
        each_database: Whether it depends on the Prefect server's database.
    """

    name: str
    measure: Callable[[Bench], Awaitable[list[Row]]]
    each_database: bool = True


@asynccontextmanager
async def open_bench(
    site: Site, database: Database, *, quick: bool, runs: int | None
) -> AsyncIterator[Bench]:
    """A bench whose stack ends with the block."""
    async with AsyncExitStack() as exits:
        yield Bench(site, database, quick, runs, exits)
