"""What counts as lost: by the result of a reader, by what a browser agent's model was shown."""

from __future__ import annotations

import pytest

from tests.chaos.driver.invariants import BROWSER_PROFILE, Facts, forgotten
from tests.chaos.driver.ledger import Instruction, Ledger
from tests.chaos.driver.rows import Detail

SENTENCE = "Mind the sentence number 1 of 1."


def lost(detail: Detail, *, kept: bool = False, shown: bool = False) -> int:
    ledger = Ledger(instructions=[Instruction("t", SENTENCE, kept)])
    if shown:
        ledger.shown.add(SENTENCE)
    return len(list(forgotten(ledger, Facts({}, {}), {"t": detail})))


@pytest.mark.parametrize(
    ("detail", "kept", "expected"),
    [
        (Detail("completed", f"Told: {SENTENCE}", "", "builtin"), False, 0),
        (Detail("completed", f"{SENTENCE} {SENTENCE}", "", "builtin"), False, 1),
        (Detail("completed", "Nothing", "", "builtin"), False, 1),
        (Detail("completed", "… 3 more instructions", "", "builtin"), False, 1),
        (Detail("completed", "… 3 more instructions", "", "builtin", (SENTENCE,)), False, 0),
        (Detail("completed", "Nothing", "", "builtin", (SENTENCE,)), False, 1),
        (Detail("stopped", "Nothing", "enough", "builtin"), False, 1),
        (Detail("stopped", "Nothing", "enough", "builtin"), True, 0),
        (Detail("failed", "", "died", "builtin"), False, 1),
    ],
)
def test_instructions_of_a_reader(detail: Detail, kept: bool, expected: int) -> None:
    assert lost(detail, kept=kept) == expected


@pytest.mark.parametrize(
    ("status", "shown", "expected"),
    [("completed", True, 0), ("completed", False, 1), ("stopped", False, 0)],
)
def test_instructions_of_a_browser_agent(status: str, shown: bool, expected: int) -> None:
    assert lost(Detail(status, "Two pages", "", BROWSER_PROFILE), shown=shown) == expected
