"""Job configuration of the pool type `vibesurf`: what a deployment may set for its runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.settings import Settings, get_current_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorkerResult
from pydantic import Field, PrivateAttr

from vibesurf_blocks.prefect_api.version_check import CHECKED

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse


@dataclass
class _Known:
    settings: Settings | None = None
    environment: dict[str, str] = field(default_factory=dict)


_known = _Known()


class VibesurfVariables(BaseVariables):
    """Job variables of a `vibesurf` pool, for its deployments and their runs."""

    working_dir: Path | None = Field(
        default=None,
        title="Working Directory",
        description="Folder the run starts in; by default one of its own in the workspace, removed "
        "afterwards.",
    )
    stream_output: bool = Field(
        default=True, description="Whether the run's output shows on the worker's."
    )
    stop_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        description="Seconds a run may take to end after it was cancelled; then it is killed.",
    )
    max_recoveries: int = Field(
        default=0,
        ge=0,
        description="Times a run is started again, with its id, after its process died.",
    )


class VibesurfJobConfiguration(BaseJobConfiguration):
    """The job variables of one run, filled in."""

    working_dir: Path | None = Field(default=None)
    stream_output: bool = Field(default=True)
    stop_grace_seconds: float = Field(default=10.0)
    max_recoveries: int = Field(default=0)

    _own_command: str | None = PrivateAttr(default=None)
    _module_path: str | None = PrivateAttr(default=None)

    @property
    def own_command(self) -> str | None:
        """The command a deployment asks for instead of the warm start, None for most."""
        return self._own_command

    @property
    def module_path(self) -> str | None:
        """Where the flow is, as `package.module.flow`, where nothing is to be fetched first."""
        return self._module_path

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        """The settings of this process for its runs, worked out once: it takes Prefect 25 ms.

        Private to Prefect, which works them out for every run.
        """
        settings = get_current_settings()
        if _known.settings is not settings:
            _known.settings, _known.environment = settings, super()._base_environment()
        return dict(_known.environment)

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Fill in what depends on the run: its environment over the worker's own."""
        # The base class puts a default command where none is set; only a set one counts here.
        self._own_command = self.command
        if deployment is not None and deployment.entrypoint and not deployment.pull_steps:
            # With a colon it is a file, which lies in the deployment's storage.
            self._module_path = None if ":" in deployment.entrypoint else deployment.entrypoint
        super().prepare_for_flow_run(
            flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id
        )
        self.env = {**CHECKED, **os.environ, **self.env}


class VibesurfWorkerResult(BaseWorkerResult):
    """How a run's process ended; 0 where the run's state already tells the rest."""
