"""Renders a report: the shared frame around the body that an engine provides.

An engine's template extends `base.html.j2` and fills its `body` block; its variables are escaped.
The page loads nothing and runs nothing, and its Content-Security-Policy holds browsers to that.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_PACKAGE = "vibesurf_blocks.reports"

Tone = Literal["plain", "good", "bad", "muted"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the header.

    Attributes:
        value: The number, ready to show.
        label: What it counts.
        tone: How to colour it.
    """

    value: str
    label: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One step of the run.

    Attributes:
        name: What it did.
        tone: `good`, `bad`, or `muted` for one that passed something over.
        anchor: Id of the part of the body that tells more; empty for none.
    """

    name: str
    tone: Tone
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every report shows around its body.

    Attributes:
        title: Title of the page.
        engine: Name of the engine.
        task: What was asked, without credentials.
        session_id: The session the task belongs to.
        task_id: The flow run id.
        summary: What came of it, in one sentence.
        error: Why it failed, or None.
        facts: Numbers for the header.
        timeline: The steps, in order.
    """

    title: str
    engine: str
    task: str
    session_id: str
    task_id: str
    summary: str
    error: str | None = None
    facts: Sequence[Fact] = field(default_factory=tuple)
    timeline: Sequence[TimelineItem] = field(default_factory=tuple)


def render(frame: Frame, *, package: str, template: str, **body: object) -> str:
    """The report as one HTML page.

    Args:
        frame: What goes around the body.
        package: Package of the engine; its `templates` folder holds the template.
        template: Name of the template there.
        **body: Its variables.
    """
    style, policy = _style()
    return (
        _environment(package)
        .get_template(template)
        .render(frame=frame, style=style, policy=policy, **body)
    )


def prepare(package: str, template: str) -> None:
    """Compile a template ahead, so that processes forked from this one find it compiled."""
    _environment(package).get_template(template)
    _style()


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_PACKAGE)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style() -> tuple[Markup, str]:
    """The style sheet, and the policy: it and pictures within the page, and nothing else."""
    css = (files(_PACKAGE) / "templates" / "base.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return Markup(css), policy  # noqa: S704 - a file of this package
