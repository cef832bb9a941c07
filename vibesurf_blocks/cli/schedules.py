"""`vibesurf-blocks schedules`: see, add, change and remove the schedules of deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vibesurf_blocks.cli.completion import schedule_names
from vibesurf_blocks.cli.failure import Failure
from vibesurf_blocks.schedules.policy import Catchup, Overlap
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import BUILTIN_PROFILE

if TYPE_CHECKING:
    from vibesurf_blocks.cli.client import Json

app = typer.Typer(
    help="See, add, change and remove the schedules of deployments, over the REST API.",
    no_args_is_help=True,
)

FlowId = Annotated[
    str,
    typer.Argument(
        help="A deployment: its id, flow/deployment, or its name.", autocompletion=schedule_names
    ),
]
Cron = Annotated[
    str | None, typer.Option(help="Five fields, such as '0 8 * * mon-fri', or @daily and its like.")
]
Zone = Annotated[str | None, typer.Option(help="IANA time zone the cron is meant in.")]
Description = Annotated[str | None, typer.Option(help="The deployment's description.")]
CatchupOption = Annotated[
    Catchup | None, typer.Option(help="What runs of what was missed while nothing ran.")
]
OverlapOption = Annotated[
    Overlap | None, typer.Option(help="What becomes of what finds the slot taken.")
]
Task = Annotated[str | None, typer.Option(help="What an agent is to do each time.")]
Session = Annotated[str, typer.Option(help="Session of that task.")]
Profile = Annotated[str, typer.Option(help="LLM profile of that task.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answers, as JSON.")]


@app.command("list")
def list_schedules(as_json: AsJson = False) -> None:
    """List all schedules, however they were made."""
    from vibesurf_blocks.cli import output

    with _api() as api:
        said = api.get("/schedule")
    if as_json:
        output.print_json(said)
    else:
        _print(said)


@app.command()
def add(
    flow_id: FlowId,
    cron: Cron = None,
    timezone: Zone = None,
    description: Description = None,
    catchup: CatchupOption = None,
    overlap: OverlapOption = None,
    task: Task = None,
    session: Session = "scheduled",
    profile: Profile = BUILTIN_PROFILE,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not let it fire yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a deployment a schedule; with --task the deployment is made as well."""
    given = {
        "cron_expression": cron,
        "timezone": timezone,
        "description": description,
        "catchup": catchup,
        "overlap": overlap,
        "task": _task(task, session, profile),
    }
    body = {"flow_id": flow_id, "is_enabled": not disabled, **_said(given)}
    with _api() as api:
        _answer(api.post("/schedule", body), as_json)


@app.command()
def edit(
    flow_id: FlowId,
    cron: Cron = None,
    timezone: Zone = None,
    description: Description = None,
    catchup: CatchupOption = None,
    overlap: OverlapOption = None,
    task: Task = None,
    session: Session = "scheduled",
    profile: Profile = BUILTIN_PROFILE,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it fires.")
    ] = None,
    no_times: Annotated[
        bool, typer.Option("--no-times", help="Take its cron away, for now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change a schedule; what is not given stays as it is."""
    from vibesurf_blocks.cli.client import path

    if no_times and cron is not None:
        raise Failure("Give --cron or --no-times, not both.")
    body = _said(
        {
            "cron_expression": cron,
            "timezone": timezone,
            "description": description,
            "catchup": catchup,
            "overlap": overlap,
            "is_enabled": enabled,
            "task": _task(task, session, profile),
        }
    )
    if no_times:
        body["cron_expression"] = None
    if not body:
        raise Failure("Nothing to change: give at least one option, such as --cron.")
    with _api() as api:
        _answer(api.put(path("schedule", flow_id), body), as_json)


@app.command()
def remove(flow_id: FlowId, as_json: AsJson = False) -> None:
    """Delete a schedule; its deployment stays, and so does a run that has begun."""
    from vibesurf_blocks.cli import output
    from vibesurf_blocks.cli.client import path

    with _api() as api:
        said = api.delete(path("schedule", flow_id))
    if as_json:
        output.print_json(said)
    else:
        print(said["message"])


@app.command("next")
def next_times(
    flow_id: FlowId,
    count: Annotated[int, typer.Option(min=1, max=100, help="Times at the most.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule fires next."""
    from vibesurf_blocks.cli import output
    from vibesurf_blocks.cli.client import path

    with _api() as api:
        said = api.get(path("schedule-times", flow_id), count=count)
    if as_json:
        output.print_json(said)
        return
    zone = said["timezone"]
    output.print_table(
        [f"in {zone}", "in UTC"],
        ((output.moment(one, zone), output.moment(one, "UTC")) for one in said["times"]),
    )
    if not said["is_enabled"]:
        print("It is disabled: it fires at none of these times until it is enabled.")


def _task(task: str | None, session: str, profile: str) -> Json | None:
    if task is None:
        return None
    return {"task_description": task, "session_id": session, "llm_profile_name": profile}


def _said(given: Json) -> Json:
    return {name: value for name, value in given.items() if value is not None}


def _answer(schedule: Json, as_json: bool) -> None:
    from vibesurf_blocks.cli import output

    if as_json:
        output.print_json(schedule)
    else:
        _print([schedule])


def _print(schedules: list[Json]) -> None:
    from vibesurf_blocks.cli import output

    output.print_table(
        ["schedule", "cron", "enabled", "next", "last", "runs", "description"],
        (
            (
                one["flow_id"],
                one["cron_expression"],
                "yes" if one["is_enabled"] else "no",
                output.moment(one["next_execution_at"]),
                output.moment(one["last_execution_at"]),
                one["execution_count"],
                one["description"],
            )
            for one in schedules
        ),
    )


def _api() -> Any:  # noqa: ANN401 - imported where it is used
    from vibesurf_blocks.cli.client import Api

    return Api(Settings().client_url)
