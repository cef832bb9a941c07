"""No path outside the workspace is read or written on a client's word."""

from __future__ import annotations

from pathlib import Path

import pytest

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.workspace import prepare_session, resolve_upload, uploads_dir


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """The uploads of session `s`, with a file, a folder and another session beside."""
    for session in ("s", "other"):
        prepare_session(tmp_path, session)
    folder = uploads_dir(tmp_path, "s")
    (folder / "list.txt").write_text("one")
    (folder / "deep").mkdir()
    (uploads_dir(tmp_path, "other") / "private.txt").write_text("two")
    return folder


@pytest.mark.parametrize("given", ["list.txt", "deep", ".", "", "deep/../list.txt", "./deep/"])
def test_what_lies_inside_is_found(tmp_path: Path, uploads: Path, given: str) -> None:
    assert resolve_upload(tmp_path, "s", given) == (uploads / given).resolve()


def test_an_absolute_path_inside_is_taken(tmp_path: Path, uploads: Path) -> None:
    assert resolve_upload(tmp_path, "s", str(uploads / "list.txt")) == uploads / "list.txt"


@pytest.mark.parametrize(
    "given",
    ["..", "../reports", "../../other/uploads/private.txt", "/etc/passwd", "deep/../../.."],
)
def test_what_lies_outside_is_refused(tmp_path: Path, uploads: Path, given: str) -> None:
    with pytest.raises(InvalidInput, match="must lie inside the session's uploads folder"):
        resolve_upload(tmp_path, "s", given)


def test_a_link_out_is_refused_and_a_link_inside_is_followed(tmp_path: Path, uploads: Path) -> None:
    (uploads / "out").symlink_to(uploads_dir(tmp_path, "other"))
    (uploads / "in").symlink_to(uploads / "deep")
    with pytest.raises(InvalidInput, match="must lie inside"):
        resolve_upload(tmp_path, "s", "out/private.txt")
    assert resolve_upload(tmp_path, "s", "in") == uploads / "deep"


def test_a_session_that_is_itself_a_link_out_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "uploads").mkdir(parents=True)
    (elsewhere / "uploads" / "a.txt").write_text("x")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "s").symlink_to(elsewhere)
    with pytest.raises(InvalidInput, match="must lie inside"):
        resolve_upload(workspace, "s", "a.txt")


def test_a_workspace_that_is_reached_by_a_link_is_fine(tmp_path: Path, uploads: Path) -> None:
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert resolve_upload(link, "s", "list.txt") == uploads / "list.txt"


@pytest.mark.parametrize("given", ["missing.txt", "deep/missing"])
def test_what_is_not_there_is_named_so(tmp_path: Path, uploads: Path, given: str) -> None:
    with pytest.raises(InvalidInput, match="names nothing"):
        resolve_upload(tmp_path, "s", given)


def test_links_in_a_circle_and_endless_names_are_refused(tmp_path: Path, uploads: Path) -> None:
    (uploads / "circle").symlink_to(uploads / "circle")
    for given in ("circle", "x" * 400):
        with pytest.raises(InvalidInput):
            resolve_upload(tmp_path, "s", given)
