"""`vibesurf-blocks tasks`: see tasks, and hold, resume, stop, instruct and follow them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vibesurf_blocks.cli.completion import task_ids
from vibesurf_blocks.cli.failure import Failure
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import Status

app = typer.Typer(
    help="See tasks, and hold, resume, stop, instruct and follow them, over the REST API.",
    no_args_is_help=True,
)

_APART = {"task_result", "error_message", "task_metadata"}

TaskId = Annotated[str, typer.Argument(help="Id of the task.", autocompletion=task_ids)]
MaybeTaskId = Annotated[
    str | None,
    typer.Argument(help="Id of the task; by default the active one.", autocompletion=task_ids),
]
Reason = Annotated[str | None, typer.Option(help="Why; shown with the task.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answers, as JSON.")]


@app.command("list")
def list_tasks(
    status: Annotated[Status | None, typer.Option(help="Only tasks of this status.")] = None,
    session: Annotated[str | None, typer.Option(help="Only tasks of this session.")] = None,
    profile: Annotated[str | None, typer.Option(help="Only tasks of this LLM profile.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Tasks at the most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first."""
    from vibesurf_blocks.cli import output

    with _api() as api:
        said = api.get(
            "/tasks",
            status=status,
            session_id=session,
            llm_profile_name=profile,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        output.print_json(said)
        return
    output.print_table(
        ["task", "status", "%", "created", "description"],
        (
            (
                row["task_id"],
                output.status(row["status"]),
                row["task_metadata"]["progress"],
                output.moment(row["created_at"], seconds=False),
                row["task_description"],
            )
            for row in said["tasks"]
        ),
    )
    if said["next_cursor"]:
        print(f"{len(said['tasks'])} of {said['total_count']}; --limit or --cursor for more")


@app.command()
def queue(
    limit: Annotated[int, typer.Option(min=1, max=500, help="Tasks at the most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the tasks that wait for the slot, in the order they get it."""
    from vibesurf_blocks.cli import output

    with _api() as api:
        said = api.get("/tasks/queue", limit=limit)
    if as_json:
        output.print_json(said)
        return
    output.print_table(
        ["#", "task", "priority", "created", "description"],
        (
            (
                row["position"],
                row["task_id"],
                row["task_metadata"]["priority"],
                output.moment(row["created_at"], seconds=False),
                row["task_description"],
            )
            for row in said["tasks"]
        ),
    )


@app.command()
def show(task_id: TaskId, as_json: AsJson = False) -> None:
    """Show one task: its row, and what it found."""
    from vibesurf_blocks.cli import follow, output
    from vibesurf_blocks.cli.client import path

    with _api() as api:
        row = api.get(path("tasks", task_id))
    if as_json:
        output.print_json(row)
        return
    told = row["task_metadata"]
    shown = [(name, row[name]) for name in row if name not in _APART]
    shown += [(name, told[name]) for name in ("steps", "active_step", "progress", "priority")]
    shown += [
        (one["operation"], f"after step {one['step']}: {one['reason'] or one['outcome']}")
        for one in told["history"]
    ]
    output.print_table(["column", "value"], shown, cut=False)
    follow.show_row(row)


@app.command()
def pause(task_id: MaybeTaskId = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """Bring an agent to rest between two steps."""
    _control("pause", task_id, reason, as_json)


@app.command()
def resume(task_id: MaybeTaskId = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """Let a paused agent go on."""
    _control("resume", task_id, reason, as_json)


@app.command()
def stop(task_id: MaybeTaskId = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """End an agent for good, or withdraw a task that waits."""
    _control("stop", task_id, reason, as_json)


@app.command()
def tell(
    instruction: Annotated[str, typer.Argument(help="What the agent is to do as well.")],
    task_id: Annotated[
        str | None,
        typer.Option(
            "--task", help="Id of the task; by default the active one.", autocompletion=task_ids
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give an agent a further instruction."""
    _control("add-new-task", task_id, instruction, as_json)


@app.command("follow")
def follow_task(
    task_id: MaybeTaskId = None,
    after: Annotated[
        str | None, typer.Option(help="Id of the last event that is known; later ones come.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as JSON.")] = False,
) -> None:
    """Show what happens to a task, to its end.

    Exit code: 0 completed, 1 failed or not found, 2 usage or unreachable, 3 stopped.
    """
    from vibesurf_blocks.cli import follow
    from vibesurf_blocks.cli.client import path

    with _api() as api:
        if task_id is None:
            active = api.get("/tasks/status")["active_task"]
            if active is None:
                raise Failure("No active task to follow", 1)
            task_id = active["task_id"]
        events = api.follow(task_id, after)
        if as_json:
            follow.print_events(events)
        else:
            follow.show_events(events)
        row = api.get(path("tasks", task_id))
    if not as_json:
        follow.show_row(row)
    raise typer.Exit(follow.EXIT_CODES[Status(row["status"])])


def _control(operation: str, task_id: str | None, reason: str | None, as_json: bool) -> None:
    from vibesurf_blocks.cli import output
    from vibesurf_blocks.cli.client import path

    where = path("tasks", operation) if task_id is None else path("tasks", task_id, operation)
    with _api() as api:
        said = api.post(where, {"reason": reason})
    if as_json:
        output.print_json(said)
    else:
        print(said["message"])


def _api() -> Any:  # noqa: ANN401 - imported where it is used
    from vibesurf_blocks.cli.client import Api

    return Api(Settings().client_url)
