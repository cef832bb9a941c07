"""The lock file: exact versions, no index, nothing missing, and what pyproject.toml asks for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.stack import ROOT

_LINES = [
    line.strip()
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+( ; .+)?( --hash=sha256:[0-9a-f]{64})*")
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pins() -> dict[str, Version]:
    """The versions of this platform, by name."""
    found: dict[str, Version] = {}
    for line in _LINES:
        pin = Requirement(line.partition(" --hash")[0])
        if pin.marker is None or pin.marker.evaluate():
            name = canonicalize_name(pin.name)
            assert name not in found, f"{name} is there twice"
            found[name] = Version(str(pin.specifier).removeprefix("=="))
    return found


def test_every_line_is_one_exact_version() -> None:
    assert [line for line in _LINES if not _PIN.fullmatch(line)] == []
    assert len(_pins()) > 100


def test_no_file_that_is_installed_from_names_an_index() -> None:
    for name in ("requirements.lock", "pyproject.toml", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text()
        assert not re.search(
            r"--(extra-)?index-url|--find-links|--trusted-host|\bindex-url\b", text
        )
        if name == "requirements.lock":
            assert "://" not in text


def test_it_has_all_that_is_asked_for_in_versions_that_fit() -> None:
    project, pins = _PROJECT["project"], _pins()
    asked = [*project["dependencies"], *_PROJECT["dependency-groups"]["dev"]]
    for extra in project["optional-dependencies"].values():
        asked += extra
    for one in map(Requirement, asked):
        name = canonicalize_name(one.name)
        assert name in pins, f"{name} is not in requirements.lock"
        assert one.specifier.contains(pins[name], prereleases=True), f"{name} {pins[name]}"


def test_the_tests_run_with_these_versions() -> None:
    wrong = []
    for name, version in _pins().items():
        try:
            installed = Version(distribution(name).version)
        except PackageNotFoundError:
            continue  # of another platform or Python
        if installed != version:
            wrong.append(f"{name}: {installed}, not {version}")
    assert wrong == []


def test_what_is_installed_fits_together() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert checked.returncode == 0, checked.stdout
