"""Each line of docs/threat-model.md names tests that exist."""

from __future__ import annotations

import re

from tests.support.stack import ROOT

_PAGE = (ROOT / "docs" / "threat-model.md").read_text()
_ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in _PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| threat", "| ---"))
]


def _tests() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        if "chaos" not in file.parts:
            found.update(
                re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE)
            )
    return found


def test_every_threat_has_a_guard_and_a_test() -> None:
    assert len(_ROWS) >= 20
    for row in _ROWS:
        assert len(row) == 3, row
        assert all(row), row
        assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", row[2]), row[0]


def test_every_test_that_is_named_exists() -> None:
    named = {name for row in _ROWS for name in re.findall(r"`(test_\w+)`", row[2])}
    assert named - _tests() == set()
