"""The cost of growth is drawn once for each database."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.curve import PICTURE, Point, draw, picture
from tests.support.stack import ROOT


def test_each_database_has_a_picture_of_its_own(tmp_path: Path) -> None:
    points = [Point(runs, 0.1, 0.02, 1.0, 300.0) for runs in (10, 100, 1_000)]
    for database in ("postgres", "sqlite"):
        draw(points, 2, picture(tmp_path / "growth.svg", database), database)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "growth-postgres.svg",
        "growth-sqlite.svg",
    ]


def test_make_bench_draws_it() -> None:
    assert f"{PICTURE}=docs/images/growth.svg" in (ROOT / "Makefile").read_text()
