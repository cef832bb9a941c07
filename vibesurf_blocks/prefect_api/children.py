"""Agent runs as children of another flow run: made once each, found again, shown in its graph.

Prefect links a child to a task run of its parent, which stands for it in the parent's graph. Here
the task run carries the name of the part (an item of a batch, a step of a workflow) and the edges
to the parts that it needed, so that the graph is the one people have in mind. Task run and child
are both made under a key that follows from the parent and the part: whoever makes them a second
time, after a process died, is answered with those that are there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect import Task
from prefect.client.schemas.objects import FlowRunResult
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Pending

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.prefect_api.labels import PARENT, PART, ROUND, TRY
from vibesurf_blocks.prefect_api.runs import children_of, read_runs
from vibesurf_blocks.tasks import AGENT_DEPLOYMENT, AGENT_FLOW

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse
    from pydantic import JsonValue

_NAME_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Child:
    """A try at a part.

    Attributes:
        run: Its flow run, as it was last read.
        part: The item or step it is for.
        round: How often the parent had ended before.
        number: Which try it is in that round, from 0.
    """

    run: FlowRun
    part: str
    round: int
    number: int

    @property
    def ended(self) -> bool:
        """Whether it has ended, however."""
        return self.run.state is not None and self.run.state.is_final()


@dataclass(frozen=True, slots=True)
class Ask:
    """A child to be made.

    Attributes:
        part: The item or step it is for.
        round: How often the parent had ended before.
        number: Which try it is in that round, from 0.
        parameters: Those of the `agent-run` flow run.
        after: Children that it comes after, for the graph.
    """

    part: str
    round: int
    number: int
    parameters: Mapping[str, JsonValue]
    after: Sequence[Child] = ()

    @property
    def key(self) -> str:
        """Tells this try from all others of its parent."""
        return f"{self.part}/{self.round}/{self.number}"

    @property
    def name(self) -> str:
        """What people see in the graph and in the list of runs."""
        again = "" if self.number == 0 else f", retry {self.number}"
        return f"{self.part[:_NAME_LIMIT]}{again}"


async def agent_deployment(client: PrefectClient) -> DeploymentResponse:
    """The standing deployment of the agent.

    Raises:
        Unavailable: It is missing.
    """
    path = f"{AGENT_FLOW}/{AGENT_DEPLOYMENT}"
    try:
        return await client.read_deployment_by_name(path)
    except ObjectNotFound as error:
        msg = (
            f"The deployment {path!r} is not on the Prefect server. Start `vibesurf-blocks up` "
            "once against it, or run `prefect deploy --all`."
        )
        raise Unavailable(msg) from error


async def create(client: PrefectClient, parent: FlowRun, deployment: UUID, ask: Ask) -> Child:
    """Make a child, or find it where it has been made before."""
    stands_for: Task[[], None] = Task(fn=_stands_for_a_child, name=ask.name)
    task_run = await client.create_task_run(
        stands_for,
        parent.id,
        dynamic_key=ask.key,
        name=ask.name,
        state=Pending(),
        task_inputs={
            "needs": [
                # In the graph the child stands where its task run was.
                FlowRunResult(id=one.run.id)
                for one in ask.after
            ]
        },
    )
    run = await client.create_flow_run_from_deployment(
        deployment,
        parameters=dict(ask.parameters),
        name=f"{ask.name} · {parent.name[:_NAME_LIMIT]}",
        idempotency_key=f"{parent.id}/{ask.key}",
        parent_task_run_id=task_run.id,
        labels={PARENT: str(parent.id), PART: ask.part, ROUND: ask.round, TRY: ask.number},
    )
    return Child(run, ask.part, ask.round, ask.number)


def _stands_for_a_child() -> None:
    """Never called: the task run's state follows the child's."""


async def of_parent(client: PrefectClient, parent: UUID) -> list[Child]:
    """All children that were made for a parent, in the order of their rounds and tries."""
    found = await children_of(client, parent)
    children = [child for run in found if (child := _child(run)) is not None]
    return sorted(children, key=lambda one: (one.round, one.number))


def _child(run: FlowRun) -> Child | None:
    try:
        numbers = [int(str(run.labels[name])) for name in (ROUND, TRY)]
        return Child(run, str(run.labels[PART]), *numbers)
    except (KeyError, ValueError):
        return None  # a subflow of somebody's own making


async def again(client: PrefectClient, children: Collection[Child]) -> list[Child]:
    """These children as they are now; those that were deleted are left out."""
    runs = await read_runs(client, [one.run.id for one in children])
    return [child for run in runs if (child := _child(run)) is not None]


async def cancel(client: PrefectClient, run: FlowRun, why: str) -> None:
    """Ask for a child's end; one that has not begun is ended by Prefect at once."""
    state = run.state
    if state is not None and not state.is_final() and not state.is_cancelling():
        await client.set_flow_run_state(run.id, Cancelling(message=why))


async def explain(client: PrefectClient, run: FlowRun, why: str) -> None:
    """Say why a child was stopped, where Prefect ended it without a word."""
    if run.state is not None and run.state.is_cancelled() and not run.state.message:
        await client.set_flow_run_state(run.id, Cancelled(message=why), force=True)


async def times_ended(client: PrefectClient, run_id: UUID) -> int:
    """How often a flow run has ended so far, as one that ended may be run again."""
    return sum(state.is_final() for state in await client.read_flow_run_states(run_id))


async def forsaken(client: PrefectClient, runs: Collection[FlowRun]) -> dict[UUID, str]:
    """Those of the runs whose parent was cancelled, with the reason to give."""
    parents = {run.id: UUID(str(run.labels[PARENT])) for run in runs if PARENT in run.labels}
    if not parents:
        return {}
    read = await read_runs(client, list(set(parents.values())))
    cancelled = {one.id: one for one in read if one.state is not None and one.state.is_cancelled()}
    return {
        run_id: f"Stopped with {cancelled[parent].name}."
        for run_id, parent in parents.items()
        if parent in cancelled
    }
