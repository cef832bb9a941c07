"""Check: the packages whose versions matter are those that this package asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from packaging.requirements import Requirement

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Finding, Told, error, told

WHY: Final = {
    "fastapi": "Prefect's server breaks with other versions: it answers 422, or does not start",
    "sqlalchemy": "with 2.1 Prefect's scheduler dies, and no schedule ever gets a run",
    "browser-use": "the browser engine is made for exactly this version",
    "prefect": "this package uses what only these versions have",
}
"""Packages that are looked at, and what goes wrong with other versions."""


async def versions(case: Case) -> Told:  # noqa: ARG001 - the same for every stack
    """Look at what is installed where this runs."""
    return judge(requires("vibesurf-blocks") or [], version)


def judge(requirements: Iterable[str], installed: Callable[[str], str]) -> Told:
    """Compare what is asked for with what is installed.

    Args:
        requirements: As a package states them.
        installed: The version of a package; raises `PackageNotFoundError` where there is none.
    """
    found: list[Finding] = []
    says: list[str] = []
    for text in requirements:
        wanted = Requirement(text)
        if wanted.name not in WHY:
            continue
        try:
            there = installed(wanted.name)
        except PackageNotFoundError:
            if wanted.marker is None:  # what belongs to an extra need not be there
                what = f"The package {wanted.name} is not installed."
                found.append(error(what, _mend(wanted), wanted.name))
            continue
        says.append(f"{wanted.name} {there}")
        if not wanted.specifier.contains(there, prereleases=True):
            what = (
                f"{wanted.name} {there} is installed, {wanted.specifier} is needed: "
                f"{WHY[wanted.name]}."
            )
            found.append(error(what, _mend(wanted), wanted.name))
    return told(", ".join(says), *found)


def _mend(wanted: Requirement) -> str:
    return (
        f"`pip install '{wanted.name}{wanted.specifier}'`, or `pip install -r requirements.lock`; "
        "then start all parts again"
    )
