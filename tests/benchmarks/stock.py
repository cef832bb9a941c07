"""The baseline: Prefect's own process worker, on the same server, as its users start it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from tests.benchmarks.stack import Stack
from tests.support.eventually import eventually

POOL = "stock"
_RUN_SECONDS = 180.0
_END_SECONDS = 15.0


class StockWorker:
    """A process pool and its worker."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    @asynccontextmanager
    async def running(self, limit: int | None = None) -> AsyncIterator[None]:
        """A worker for as long as the block lasts, its pool limited to so many runs."""
        client = self._stack.prefect
        try:
            await client.read_work_pool(POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            await client.create_work_pool(
                WorkPoolCreate(name=POOL, type="process", base_job_template=template)
            )
        await client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=limit))
        env = self._stack.env | {
            "PREFECT_API_URL": self._stack.prefect_api_url,
            "PREFECT_HOME": str(self._stack.temp / "stock"),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", POOL),
            env=env,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await eventually(self._online, timeout=60, pause=0.2)
            yield
        finally:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            except TimeoutError:  # it now and then waits for ever for something of its own
                process.kill()
                await process.wait()

    async def create(self, flow: Flow[..., Any]) -> UUID:
        """Create a run of a flow, which the worker is to take."""
        client = self._stack.prefect
        try:
            found = (await client.read_deployment_by_name(f"{flow.name}/{POOL}")).id
        except ObjectNotFound:
            with temporary_settings({PREFECT_API_URL: self._stack.prefect_api_url}):
                deployment = await flow.ato_deployment(
                    POOL, work_pool_name=POOL, entrypoint_type=EntrypointType.MODULE_PATH
                )
                found = await deployment.aapply()
        return (await client.create_flow_run_from_deployment(found)).id

    async def reached(self, run_id: UUID, *, running: bool = False) -> FlowRun:
        """Wait until a run has ended, or runs."""

        async def there() -> FlowRun | None:
            run = await self._stack.prefect.read_flow_run(run_id)
            assert run.state is not None
            if run.state.is_final() or (running and run.state.is_running()):
                return run
            return None

        run = await eventually(there, timeout=_RUN_SECONDS, pause=0.2)
        assert run is not None
        return run

    async def _online(self) -> bool:
        workers = await self._stack.prefect.read_workers_for_work_pool(POOL)
        return any(worker.status is WorkerStatus.ONLINE for worker in workers)
