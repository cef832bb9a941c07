"""Which time zones are known, and which one the machine is in."""

from __future__ import annotations

import pytest

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.schedules.zones import check_zone, machine_zone


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York", "Etc/GMT+5"])
def test_iana_names_are_known(name: str) -> None:
    assert check_zone(name) == name


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "europe/berlin", "+02:00", "../UTC", "x" * 9_000]
)
def test_anything_else_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"Unknown time zone .* IANA name"):
        check_zone(name)


def test_the_machines_zone_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert machine_zone() == "Asia/Tokyo"


def test_the_machines_zone_is_always_one_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    assert check_zone(machine_zone())
