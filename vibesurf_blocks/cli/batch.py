"""`vibesurf-blocks batch`: submits a file of tasks, shows its progress, prints what came of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vibesurf_blocks.batches.files import read_items
from vibesurf_blocks.batches.order import Batch
from vibesurf_blocks.cli.client import Api, Json, path
from vibesurf_blocks.cli.failure import NOT_DONE, USAGE, Failure
from vibesurf_blocks.cli.follow import EXIT_CODES
from vibesurf_blocks.cli.output import print_json, print_table, status
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.tasks import Status
from vibesurf_blocks.validation import told

_LOOK_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0


def order(file: Path, **how: str | int | None) -> Json:
    """The body that submits the tasks of a file.

    Raises:
        InvalidInput: The file is no batch, or the options are not.
    """
    try:
        return Batch.model_validate({**how, "items": read_items(file)}).model_dump(
            mode="json", exclude_none=True
        )
    except ValidationError as error:
        raise InvalidInput(told(error)) from error


def run_batch(
    url: str, body: Mapping[str, object] | None, again: str | None, *, as_json: bool
) -> int:
    """Submit a batch to the API at `url`, or run an earlier one again, and follow it to its end.

    Returns:
        The exit code.

    Raises:
        Failure: It was not accepted, or the API does not answer.
    """
    with Api(url) as api:
        if body is None:
            said = api.post(path("tasks", "batch", str(again), "retry"), {})
        else:
            # The key makes it safe to ask again when the answer was lost.
            said = api.post("/tasks/batch", body, key=str(uuid.uuid4()))
        if said.get("success") is False:
            raise Failure(f"Not accepted: {said['message']}", NOT_DONE)
        Console(stderr=True, highlight=False).print(f"Batch {said['batch_id']}")
        batch = _follow(api, said["batch_id"], quiet=as_json)
    if as_json:
        print_json(batch)
    else:
        _show(batch)
    return EXIT_CODES[Status(batch["status"])]


def _follow(api: Api, batch_id: str, *, quiet: bool) -> Json:
    """Follow a batch to its end."""
    with Progress(
        TextColumn("{task.fields[status]:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        disable=quiet,
    ) as progress:
        bar = progress.add_task("", total=None, status="pending")
        heard = time.monotonic()
        while True:
            begun = time.monotonic()
            try:
                batch: Json = api.get(path("tasks", "batch", batch_id))
            except Failure as failure:
                # The API may be started again this moment; the batch goes on without it.
                if failure.code != USAGE or begun - heard > _PATIENCE_SECONDS:
                    raise
                time.sleep(_LOOK_SECONDS)
                continue
            heard = time.monotonic()
            counts = batch["counts"]
            progress.update(
                bar,
                total=batch["total"],
                completed=counts["completed"],
                status=batch["status"],
                description=f"{counts['failed']} failed" if counts["failed"] else "",
            )
            if Status(batch["status"]).terminal:
                return batch
            # The longer an answer takes, the less often it is asked for.
            time.sleep(max(_LOOK_SECONDS, 5 * (heard - begun)))


def _show(batch: Json) -> None:
    print_table(
        ("item", "status", "tries", "task", "error"),
        [
            (one["id"], status(one["status"]), one["tries"], one["task_id"], one["error"])
            for one in batch["items"]
        ],
    )
    print(f"{batch['status']}: {batch['message'] or ''}")
