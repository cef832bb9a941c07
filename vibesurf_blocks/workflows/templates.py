"""Fills the tasks of steps with what earlier steps found, and says beforehand what is amiss.

Only plain references are understood, no statements: what a template may ask for is known before
anything runs, and none can run for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from vibesurf_blocks.errors import InvalidInput

FIELDS: Final = ("result", "status", "error", "task_id", "report")
"""What can be asked of an earlier step."""

FILTERS: Final = ("default", "lower", "replace", "title", "trim", "truncate", "upper")
"""Filters that a reference may be passed through."""

_ENVIRONMENT: Final = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """Something a template asks for: `steps.name.field` or `inputs.name`."""

    root: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        """As it is written."""
        return ".".join((self.root, *self.path))


def references(template: str) -> list[Reference]:
    """What a template asks for.

    Raises:
        ValueError: It cannot be read, or holds more than references.
    """
    try:
        read = _ENVIRONMENT.parse(template)
    except TemplateSyntaxError as error:
        msg = f"its task is no template in line {error.lineno}: {error.message}"
        raise ValueError(msg) from error
    return list(_in_body(read.body))


def check(template: str, steps: Collection[str], inputs: Collection[str]) -> None:
    """See that a template asks for nothing but fields of these steps and these inputs.

    Raises:
        ValueError: It does; the message says what there is.
    """
    for one in references(template):
        if one.root == "inputs" and len(one.path) == 1:
            if one.path[0] not in inputs:
                msg = f"'{{{{ {one} }}}}' names no input; there are {_listed(inputs)}"
                raise ValueError(msg)
        elif one.root == "steps" and len(one.path) == 2:
            if one.path[0] not in steps:
                msg = (
                    f"'{{{{ {one} }}}}' names no step that comes before it: add it to `needs`, or "
                    f"use one of {_listed(steps)}"
                )
                raise ValueError(msg)
            if one.path[1] not in FIELDS:
                msg = f"'{{{{ {one} }}}}' names nothing a step has; there are {_listed(FIELDS)}"
                raise ValueError(msg)
        else:
            msg = f"'{{{{ {one} }}}}' names nothing; use steps.NAME.FIELD or inputs.NAME"
            raise ValueError(msg)


def fill(
    template: str,
    steps: Mapping[str, Mapping[str, str]],
    inputs: Mapping[str, str | int | float | bool],
) -> str:
    """A task with its references filled in.

    Raises:
        InvalidInput: A filter cannot do what is asked of it.
    """
    try:
        return _ENVIRONMENT.from_string(template).render(steps=steps, inputs=inputs)
    except (TemplateError, TypeError, ValueError) as error:
        msg = f"the task cannot be filled in: {error}"
        raise InvalidInput(msg) from error


def _in_body(body: list[nodes.Node]) -> Iterator[Reference]:
    for node in body:
        if not isinstance(node, nodes.Output):
            kind = type(node).__name__.lower()
            msg = f"its task holds a statement ({kind}) in line {node.lineno}: only '{{{{ … }}}}'"
            raise ValueError(msg)  # noqa: TRY004 - what was written is wrong, not a type here
        for part in node.nodes:
            if not isinstance(part, nodes.TemplateData):
                yield from _in_expression(part)


def _in_expression(node: nodes.Node | None) -> Iterator[Reference]:
    if isinstance(node, nodes.Const):
        return
    if isinstance(node, nodes.Filter):
        if node.name not in FILTERS or node.dyn_args or node.dyn_kwargs:
            msg = f"there is no filter {node.name!r}; there are {_listed(FILTERS)}"
            raise ValueError(msg)
        for one in (node.node, *node.args, *(pair.value for pair in node.kwargs)):
            yield from _in_expression(one)
        return
    yield _reference(node)


def _reference(node: nodes.Node | None) -> Reference:
    path: list[str] = []
    while True:
        match node:
            case nodes.Getattr():
                path.append(node.attr)
                node = node.node
            case nodes.Getitem(arg=nodes.Const(value=str() as key)):
                path.append(key)
                node = node.node
            case nodes.Name():
                return Reference(node.name, tuple(reversed(path)))
            case _:
                msg = "only references such as '{{ steps.NAME.result }}' are understood"
                raise ValueError(msg)


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
