"""Keys open with the machine's id alone, however VibeSurf's versions spelled it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.vibesurf_keys import encrypted
from vibesurf_blocks.adopt.keys import Keys, ids_here, read_id
from vibesurf_blocks.errors import InvalidInput

CARD = "02:42:ac:11:00:fe"


@pytest.mark.parametrize("spelled", [CARD, "0242AC1100FE"])
@pytest.mark.parametrize("given", [CARD, CARD.upper(), "02-42-AC-11-00-FE", "0242ac1100fe"])
def test_an_address_opens_what_either_spelling_encrypted(spelled: str, given: str) -> None:
    assert Keys(ids_here([], given)).open(encrypted("sk-1", spelled)) == "sk-1"


def test_this_machine_and_its_workspace_are_tried(tmp_path: Path) -> None:
    cards = [
        one.address
        for addresses in psutil.net_if_addrs().values()
        for one in addresses
        if one.family == psutil.AF_LINK
    ]
    assert set(cards) <= set(ids_here([]))
    (tmp_path / "telemetry").mkdir()
    (tmp_path / "telemetry" / "userid").write_text("0199-user")
    token = encrypted("sk-2", "0199-user")
    assert Keys(ids_here([tmp_path / "none", tmp_path])).open(token) == "sk-2"
    assert Keys(ids_here([])).open(token) is None
    assert Keys(ids_here([])).open(encrypted("sk-3", "vibesurf_userid")) == "sk-3"


@pytest.mark.parametrize("token", ["", "sk-plain-text", "Z0FBQUFB", "ü", "x" * 200])
def test_what_is_no_such_key_is_none(token: str) -> None:
    assert Keys(["a"]).open(token) is None


def test_the_id_of_another_machine_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "id"
    file.write_text(f"{CARD}\n")
    assert read_id(file) == CARD
    file.write_text("\n")
    with pytest.raises(InvalidInput, match="is empty: write into it"):
        read_id(file)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_id(tmp_path)
