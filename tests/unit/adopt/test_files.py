"""Reports come along from VibeSurf's workspace alone, each once, and never over another."""

from __future__ import annotations

from pathlib import Path

import pytest

from vibesurf_blocks.adopt.files import Reports
from vibesurf_blocks.adopt.report import Leave


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    (folder / "s" / "reports").mkdir(parents=True)
    (folder / "s" / "reports" / "r.html").write_text("<p>Report</p>")
    return folder


def test_a_report_is_copied_once_also_from_a_workspace_that_was_moved(
    tmp_path: Path, there: Path
) -> None:
    here = tmp_path / "here"
    for _ in range(2):
        reports = Reports(there, here, write=True)
        for named, recorded in (
            (str(there / "s/reports/r.html"), None),
            ("/gone/ws/s/reports/r.html", "/gone/ws"),
        ):
            path = reports.take(named, recorded, "s")
            assert path == str(here / "s/reports/r.html")
    assert Path(path).read_text() == "<p>Report</p>"
    assert [one.name for one in Path(path).parent.iterdir()] == ["r.html"]
    assert (here / "s" / "uploads").is_dir()


def test_a_dry_run_writes_nothing(tmp_path: Path, there: Path) -> None:
    here = tmp_path / "here"
    path = Reports(there, here, write=False).take(str(there / "s/reports/r.html"), None, "s")
    assert path == str(here / "s/reports/r.html")
    assert not here.exists()


def test_another_report_of_that_name_stays(tmp_path: Path, there: Path) -> None:
    mine = tmp_path / "here" / "s" / "reports" / "r.html"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for _ in range(2):
        reports = Reports(there, tmp_path / "here", write=True)
        path = Path(reports.take(str(there / "s/reports/r.html"), None, "s"))
        assert path.read_text() == "<p>Report</p>"
    assert mine.read_text() == "mine"
    assert len(list(mine.parent.iterdir())) == 2


def test_nothing_outside_is_read_or_written(tmp_path: Path, there: Path) -> None:
    outside = tmp_path / "secret.html"
    outside.write_text("secret")
    (there / "s" / "reports" / "link.html").symlink_to(outside)
    (there / "key.pem").write_text("secret")
    reports = Reports(there, tmp_path / "here", write=True)
    for named in (
        str(outside),
        str(there / "s/reports/link.html"),
        str(there / ".." / "secret.html"),
        str(there / "key.pem"),
        str(there / "s" / "reports"),
        "none.html",
        "x\x00.html",
    ):
        with pytest.raises(Leave, match="is no HTML file in"):
            reports.take(named, "/gone", "s")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked").symlink_to(elsewhere)
    with pytest.raises(Leave, match="leads out of the workspace"):
        reports.take(str(there / "s/reports/r.html"), None, "linked")
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(Leave, match="--workspace FOLDER"):
        Reports(None, tmp_path / "here", write=True).take("r.html", None, "s")
