"""Writes what the docs say of the settings from `vibesurf_blocks/settings.py`: `make docs`.

That is the whole of docs/settings.md, and the table in the README between its two markers.
"""

from __future__ import annotations

import types
import typing
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from vibesurf_blocks.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"
README = ROOT / "README.md"
BEGIN = "<!-- settings: written by `make docs` -->"
END = "<!-- end of settings -->"

_HEAD = """\
# Settings

Written by `make docs` from [`vibesurf_blocks/settings.py`](../vibesurf_blocks/settings.py), the one
place that reads them. Each is an environment variable; where it is not set, the default counts. A
value that cannot be is refused when a part starts, with the variable's name. Options of the command
line (`--home`, `--host`, `--port`, `--prefect-port`) come before the environment.

Every part reads its own environment: parts that are started on their own
(see [operations](operations.md)) must be given the same values.
"""

_TAIL = """\
## Settings of Prefect

Prefect's own settings (`PREFECT_…`) reach every part as well. One decides what
`vibesurf-blocks up` does: where `PREFECT_API_URL` is set, that server is used and none is started.
Under `up`, `PREFECT_HOME` is `<home>/prefect`, so that profiles in `~/.prefect` are not read.
"""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{Settings.model_config['env_prefix']}{name}".upper()


def default(field: FieldInfo) -> str:
    """A setting's default as markdown."""
    if isinstance(field.default, tuple):
        return f"`{','.join(map(str, field.default))}`" if field.default else "–"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return "–" if field.default is None else f"`{field.default}`"


def values(field: FieldInfo) -> str:
    """What a setting may be, in words."""
    words = _kind(field.annotation)
    limits = {
        sign: getattr(one, name)
        for one in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"))
        if getattr(one, name, None) is not None
    }
    return " ".join([words, *(f"{sign} {limit}" for sign, limit in limits.items())])


def _kind(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{one}`" for one in typing.get_args(annotation))
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        given = [one for one in typing.get_args(annotation) if one is not type(None)]
        return " or ".join(map(_kind, given))
    if typing.get_origin(annotation) is tuple:
        return f"several of {_kind(typing.get_args(annotation)[0])}, separated by commas"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{one}`" for one in annotation)
    names = {
        bool: "`true` or `false`",
        str: "text",
        SecretStr: "text",
        int: "whole number",
        float: "number",
        Path: "folder",
    }
    return names[typing.cast("type", annotation)]


def page() -> str:
    """The text of docs/settings.md."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        facts = f"{values(field)}; default {default(field)}"
        parts.append(f"## {variable(name)}\n\n{field.description}\n\n*{facts}*\n")
    return "\n".join([*parts, _TAIL])


def table() -> str:
    """The README's table, markers included."""
    rows = [
        f"| `{variable(name)}` | {default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([BEGIN, "| variable | default | meaning |", "| --- | --- | --- |", *rows, END])


def main() -> None:
    """Write both."""
    PAGE.write_text(page(), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + table() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
