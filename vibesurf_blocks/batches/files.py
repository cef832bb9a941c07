"""Reads the items of a batch from a JSON, CSV or YAML file, and says where a file is broken."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml
from pydantic import TypeAdapter, ValidationError

from vibesurf_blocks.batches.order import ITEM_LIMIT, Batch, BatchItem, named
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.workspace import resolve_upload

SIZE_LIMIT: Final = 50_000_000
"""Bytes of a file of items at the most."""

_ITEMS: Final = TypeAdapter(list[BatchItem])
_SHOWN: Final = 5


def read_items(path: Path) -> list[BatchItem]:
    """Read a file of items; its name's ending says which kind it is.

    Raises:
        InvalidInput: It cannot be read, is broken (with line and column), or holds no batch.
    """
    kind = path.suffix.lower()
    if kind not in _READERS:
        msg = f"{path.name} is not of a kind that is read: use .json, .csv, .yaml or .yml"
        raise InvalidInput(msg)
    try:
        if path.stat().st_size > SIZE_LIMIT:
            msg = f"{path.name} is larger than {SIZE_LIMIT:,} bytes; split it"
            raise InvalidInput(msg)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror}"
        raise InvalidInput(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path.name} is not UTF-8: byte {error.start} cannot be read"
        raise InvalidInput(msg) from error
    return items_of(_READERS[kind](path.name, text), path.name)


def items_of(read: object, name: str) -> list[BatchItem]:
    """The items in what was read: a list, or an object with the list under `items`.

    Raises:
        InvalidInput: There are none, or one is not as it must be.
    """
    if isinstance(read, dict):
        read = read.get("items")
    if not isinstance(read, list):
        msg = f"{name} must hold a list of tasks, or an object with that list under `items`"
        raise InvalidInput(msg)
    if len(read) > ITEM_LIMIT:
        msg = f"{name}: there are {len(read):,} items: a batch takes {ITEM_LIMIT:,} at the most"
        raise InvalidInput(msg)
    try:
        items = _ITEMS.validate_python(read)
        named(items)
    except ValidationError as error:
        raise InvalidInput(f"{name}: {_told(error)}") from error
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from error
    return items


def items_of_batch(batch: Batch, workspace: Path) -> dict[str, BatchItem]:
    """The items of a batch by their ids, from wherever it has them.

    Raises:
        InvalidInput: Its file lies outside the session's uploads, or cannot be read as items.
    """
    if batch.items is not None:
        return batch.named(batch.items)
    assert batch.items_file is not None  # noqa: S101 - a batch has one or the other
    try:
        path = resolve_upload(workspace, batch.session_id, batch.items_file)
    except InvalidInput as error:
        msg = f"items_file {error.message}"
        raise InvalidInput(msg) from error
    try:
        return batch.named(read_items(path))
    except ValueError as error:
        raise InvalidInput(f"{path.name}: {error}") from error


def parse_yaml(name: str, text: str) -> object:
    """Read YAML.

    Raises:
        InvalidInput: It is broken; with line and column.
    """
    try:
        read: object = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        msg = f"{name} is not YAML{place}: {error.problem or error.context or 'it is broken'}"
        raise InvalidInput(msg) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{name} is not YAML: {error}"
        raise InvalidInput(msg) from error
    return read


def _json(name: str, text: str) -> object:
    try:
        read: object = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"{name} is not JSON in line {error.lineno}, column {error.colno}: {error.msg}"
        raise InvalidInput(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{name} is not JSON: {error}"
        raise InvalidInput(msg) from error
    return read


def _csv(name: str, text: str) -> object:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    known = list(BatchItem.model_fields)
    try:
        columns = [column.strip() for column in rows.fieldnames or ()]
        if "task_description" not in columns:
            msg = (
                f"{name}: its first line must name the columns, with `task_description` among them"
            )
            raise InvalidInput(msg)
        unknown = sorted({repr(column) for column in columns if column not in known})
        if unknown:
            msg = f"{name}: there is no column {', '.join(unknown)}; there are {', '.join(known)}"
            raise InvalidInput(msg)
        rows.fieldnames = columns
        read = []
        for row in rows:
            if None in row:
                msg = f"{name}: line {rows.line_num} has more fields than there are columns"
                raise InvalidInput(msg)
            # A field that is left empty is left out.
            read.append({column: value for column, value in row.items() if value})
    except csv.Error as error:
        msg = f"{name} is not CSV after line {rows.line_num}: {error}"
        raise InvalidInput(msg) from error
    return read


_READERS: Final[dict[str, Callable[[str, str], object]]] = {
    ".json": _json,
    ".csv": _csv,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
}


def _told(error: ValidationError) -> str:
    """What is wrong with which item, for the first few."""
    told = []
    for one in error.errors()[:_SHOWN]:
        number, *rest = one["loc"]
        where = f"item {int(number) + 1}" + "".join(f", {part}" for part in rest)
        told.append(f"{where}: {one['msg'].removeprefix('Value error, ')}")
    more = error.error_count() - len(told)
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")
