"""Changes the product in the processes of a stack under chaos: evidence, proxies, guards removed.

Nothing here is known to the product. Each change is made right after the import of the module that
it concerns, so processes that do not use it import nothing.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

BOOK = "VIBESURF_CHAOS_BOOK"
"""Folder in which agents write when they work."""

PREFECT = "VIBESURF_CHAOS_PREFECT"
"""URL of the proxy before Prefect's API."""

SOCKETS = "VIBESURF_CHAOS_SOCKETS"
"""Folder of the proxy's socket before PostgreSQL."""

WITHOUT = "VIBESURF_CHAOS_WITHOUT"
"""Guards that are removed, separated by commas."""

Change = Callable[[Any], None]


def write_book(agent: Any) -> None:
    """Have each agent write when it begins and ends, and who works beside it."""
    from tests.chaos.driver.book import Page

    make = agent.engine_for

    def engine_for(context: Any) -> Any:
        engine = make(context)
        page = Page(os.environ[BOOK], context.task_id)
        opening, stepping, closing = engine.open, engine.step, engine.close

        async def begin() -> None:
            page.begin()
            await opening()

        async def step() -> Any:
            page.step()
            return await stepping()

        async def close() -> None:
            await closing()
            page.end()

        engine.open, engine.step, engine.close = begin, step, close
        return engine

    agent.engine_for = engine_for


def go_by_proxy(up: Any) -> None:
    """Have the parts reach Prefect through the proxy."""
    environment = up.Stack._parts_env

    def parts_env(self: Any) -> dict[str, str]:
        return {**environment(self), "PREFECT_API_URL": os.environ[PREFECT]}

    up.Stack._parts_env = parts_env


def database_by_proxy(postgres: Any) -> None:
    """Have Prefect's server reach PostgreSQL through the proxy."""
    real = postgres.EmbeddedPostgres.url

    def url(self: Any) -> str:
        import sqlalchemy as sa

        made = sa.make_url(real.fget(self)).set(query={"host": os.environ[SOCKETS]})
        return made.render_as_string(hide_password=False)

    postgres.EmbeddedPostgres.url = property(url)


def without_slot_lock(slot_lock: Any) -> None:
    """No lock on the workspace."""

    @asynccontextmanager
    async def unlocked(*_: Any, **__: Any) -> AsyncIterator[int]:
        yield 0

    slot_lock.slot_lock = unlocked


def without_chain_key(submissions: Any) -> None:
    """No idempotency key for submitted runs."""
    create = submissions.Submitter._create

    async def keyless(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await create(self, *args, **{**kwargs, "once": None})

    submissions.Submitter._create = keyless


def without_reconciler(sync: Any) -> None:
    """The mirror goes by events alone."""

    async def nothing(*_: Any) -> int:
        return 0

    sync.Sync.reconcile = nothing


def without_terminal_rule(tasks: Any) -> None:
    """An older state overwrites a newer one."""

    async def upsert(connection: Any, insert: Any, records: Any) -> Sequence[str]:
        statement = insert.on_conflict_do_update(
            index_elements=[tasks._c.task_id], set_=tasks._merged(insert.excluded)
        ).returning(tasks._c.task_id)
        written = await connection.scalars(statement, [record.values() for record in records])
        return sorted(written)

    tasks._upsert_returning = upsert


GUARDS: dict[str, tuple[str, Change]] = {
    "slot-lock": ("vibesurf_blocks.run.slot_lock", without_slot_lock),
    "chain-key": ("vibesurf_blocks.prefect_api.submissions", without_chain_key),
    "reconciler": ("vibesurf_blocks.mirror.sync", without_reconciler),
    "terminal-rule": ("vibesurf_blocks.tables.tasks", without_terminal_rule),
}
"""Guards that can be removed: where each is, and how."""


class _After(MetaPathFinder):
    """Changes modules right after their import."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self._changes = changes
        self._looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._changes or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            _change_after(spec.loader, self._changes[fullname])
        return spec


def _change_after(loader: Loader, change: Change) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        change(module)

    loader.exec_module = exec_module  # type: ignore[method-assign]


def install() -> None:
    """Change what the environment says, in this process."""
    changes: dict[str, Change] = {"vibesurf_blocks.run.agent": write_book}
    if PREFECT in os.environ:
        changes["vibesurf_blocks.stack.up"] = go_by_proxy
    if SOCKETS in os.environ:
        changes["vibesurf_blocks.stack.postgres"] = database_by_proxy
    for name in filter(None, os.environ.get(WITHOUT, "").split(",")):
        module, change = GUARDS[name]
        changes[module] = change
    sys.meta_path.insert(0, _After(changes))
