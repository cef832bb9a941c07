"""Commands and options; what they do stands in the modules they call."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from vibesurf_blocks import __version__
from vibesurf_blocks.cli import schedules, tasks
from vibesurf_blocks.cli.failure import USAGE, Failure
from vibesurf_blocks.errors import VibesurfError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import Priority

# Everything heavy is imported by the command that needs it, so that each starts quickly.

app = typer.Typer(
    name="vibesurf-blocks",
    help="Browser agents on Prefect: one at a time, on schedules, with an honest record in SQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
database = typer.Typer(help="The tables.", no_args_is_help=True)
app.add_typer(database, name="db")
app.add_typer(tasks.app, name="tasks")
app.add_typer(schedules.app, name="schedules")


_INTERRUPTED = 130


def _settings(**given: Any) -> Settings:  # noqa: ANN401 - values of any option
    return Settings(**{name: value for name, value in given.items() if value is not None})


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    prefect_port: Annotated[
        int | None, typer.Option(help="Port of the Prefect server that is started.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for everything it writes.")] = None,
) -> None:
    """Run the whole stack in the foreground: Prefect server, worker, mirror and API."""
    from vibesurf_blocks.cli.up import run_stack

    settings = _settings(host=host, port=port, prefect_port=prefect_port, home=home)
    raise typer.Exit(asyncio.run(run_stack(settings)))


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="What the agent is to do.")],
    profile: Annotated[str, typer.Option(help="LLM profile.")] = "builtin",
    session: Annotated[str, typer.Option(help="Session the task belongs to.")] = "cli",
    mode: Annotated[str, typer.Option(help="thinking, no-thinking or flash.")] = "thinking",
    enqueue: Annotated[
        bool, typer.Option("--enqueue", help="Wait where another task is active.")
    ] = False,
    priority: Annotated[
        Priority, typer.Option(help="Before or after which others that wait.")
    ] = Priority.NORMAL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the row as JSON.")] = False,
) -> None:
    """Submit a task to the running API, follow it and print its result.

    Exit code: 0 completed, 1 failed or not accepted, 2 usage or unreachable, 3 stopped.
    """
    from vibesurf_blocks.cli.run import run_task

    body = {
        "task_description": task,
        "session_id": session,
        "llm_profile_name": profile,
        "agent_mode": mode,
        "on_busy": "enqueue" if enqueue else "reject",
        "priority": priority,
    }
    raise typer.Exit(run_task(_settings().client_url, body, as_json=as_json))


@app.command()
def batch(
    file: Annotated[
        Path | None, typer.Argument(help="JSON, CSV or YAML file with the tasks.")
    ] = None,
    session: Annotated[str, typer.Option(help="Session the tasks belong to.")] = "cli",
    profile: Annotated[
        str | None,
        typer.Option(help="LLM profile of tasks that name none; by default the default."),
    ] = None,
    mode: Annotated[str, typer.Option(help="serial or parallel.")] = "serial",
    on_failure: Annotated[str, typer.Option(help="continue or stop.")] = "continue",
    retries: Annotated[int, typer.Option(help="Times a task that failed is tried again.")] = 0,
    retry: Annotated[
        str | None, typer.Option(metavar="ID", help="Run what is missing of an earlier batch.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the batch as JSON.")] = False,
) -> None:
    """Run the tasks of a file as one batch, follow it and print what came of each.

    Exit code: 0 all completed, 1 not all or not accepted, 2 usage or unreachable, 3 stopped.
    """
    from vibesurf_blocks.cli.batch import order, run_batch

    if (file is None) == (retry is None):
        raise typer.BadParameter("name a file of tasks, or an earlier batch with --retry")
    body = None
    if file is not None:
        body = order(
            file,
            session_id=session,
            llm_profile_name=profile,
            mode=mode,
            on_failure=on_failure,
            retries=retries,
        )
    raise typer.Exit(run_batch(_settings().client_url, body, retry, as_json=as_json))


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the REST API alone."""
    from vibesurf_blocks.stack import parts

    parts.api(host, port)


@app.command()
def mirror(
    rebuild: Annotated[
        bool, typer.Option(help="Empty the tasks table first and derive every row anew.")
    ] = False,
) -> None:
    """Run the mirror alone."""
    from vibesurf_blocks.stack import parts

    parts.mirror(rebuild)


@app.command()
def setup() -> None:
    """Bring the tables, the work pools and the deployments to this version; safe to repeat."""
    from vibesurf_blocks.stack import parts

    parts.bootstrap(_settings().pool)


@app.command()
def drift(
    file: Annotated[Path, typer.Option(help="The prefect.yaml to compare with.")] = Path(
        "prefect.yaml"
    ),
) -> None:
    """Show how the deployments on the Prefect server differ from prefect.yaml.

    Exit code: 0 nothing differs, 1 something does, 2 usage or unreachable.
    """
    from vibesurf_blocks.cli.drift import show_drift

    raise typer.Exit(asyncio.run(show_drift(file)))


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Ended so long ago: 36h, 90d or 12w; 1d at least.")
    ],
    keep: Annotated[
        int, typer.Option(min=0, help="The tasks that ended last stay, so many of them.")
    ] = 0,
    reports: Annotated[
        bool, typer.Option(help="Remove reports and empty folders of this machine's workspace.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be pruned.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete old ended tasks for good: flow runs in Prefect, reports, rows.

    Can be repeated, also after it was killed. Exit code: 0 done, 1 not confirmed, 2 usage or
    unreachable.
    """
    from vibesurf_blocks.cli.prune import age, prune_tasks

    raise typer.Exit(
        prune_tasks(
            _settings(),
            age(older_than),
            keep=keep,
            reports=reports,
            dry_run=dry_run,
            as_json=as_json,
            yes=yes,
        )
    )


@app.command()
def adopt(
    source: Annotated[
        str, typer.Argument(help="VibeSurf's vibe_surf.db: a path, or a URL of SQLite.")
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="Take it over; without, only say what would happen.")
    ] = False,
    workspace: Annotated[
        Path | None, typer.Option(help="VibeSurf's workspace, to take its reports along.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the network card's address of the machine VibeSurf ran on, if another."
        ),
    ] = None,
    ended: Annotated[
        bool,
        typer.Option("--ended", help="VibeSurf runs no more: what it left unfinished has failed."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Take over the tasks, schedules and LLM profiles of a VibeSurf database, which is only read.

    Exit code: 0 done, 2 no such database, or what is needed cannot be reached.
    """
    from vibesurf_blocks.cli.adopt import run_adopt

    asyncio.run(
        run_adopt(
            _settings(),
            source,
            apply=apply,
            workspace=workspace,
            key_file=key_file,
            ended=ended,
            as_json=as_json,
        )
    )


@app.command()
def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Ask the models of the LLM profiles, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Find out what is wrong with the stack, and what to do about it.

    Exit code: 0 healthy, 1 something was found, 2 something could not be checked.
    """
    from vibesurf_blocks.cli.doctor import show_health

    raise typer.Exit(asyncio.run(show_health(_settings(), deep=deep, as_json=as_json)))


@database.command("mend-statuses")
def mend_statuses() -> None:
    """Put the statuses that another program wrote in another case into lower case."""
    from vibesurf_blocks.tables.database import Database
    from vibesurf_blocks.tables.statuses import mend_statuses as mend

    async def work() -> int:
        tables = Database.of(_settings())
        try:
            return await mend(tables)
        finally:
            await tables.aclose()

    print(f"{asyncio.run(work())} rows were changed")


@database.command()
def upgrade() -> None:
    """Bring the tables to this version."""
    from vibesurf_blocks.tables.upgrade import upgrade as upgrade_tables

    done = asyncio.run(upgrade_tables(_settings().tables_url))
    print(f"The tables are at {done.after}" + (f", from {done.before}" if done.changed else ""))


def main() -> None:
    """Run the command line; errors become one sentence and exit code 2."""
    try:
        app()
    except VibesurfError as error:
        Console(stderr=True).print(
            f"[bold red]Error:[/] {escape(error.message)}", highlight=False, soft_wrap=True
        )
        sys.exit(error.code if isinstance(error, Failure) else USAGE)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ValidationError as error:
        for one in error.errors():
            name = "_".join(str(part) for part in one["loc"]).upper()
            print(f"Error: VIBESURF_{name}: {one['msg']}", file=sys.stderr)
        sys.exit(USAGE)
