"""What a run needs to go on is kept whole, or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from uuid import UUID

import pytest

from vibesurf_blocks.run.checkpoints import CheckpointFile, Kept, unfinished


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return CheckpointFile(tmp_path / "workspace", "a-task")


def test_nothing_is_kept_at_first(file: CheckpointFile) -> None:
    assert file.load() is None


def test_the_last_thing_kept_comes_back(file: CheckpointFile) -> None:
    file.save(Kept(step=1, checkpoint={"seen": []}))
    last = Kept(step=2, done=True, heeded=("x",), checkpoint={"seen": ["ä", 1, None]})
    file.save(last)
    assert file.load() == last


def test_what_was_discarded_is_gone(file: CheckpointFile, tmp_path: Path) -> None:
    file.save(Kept(step=1, checkpoint={}))
    file.discard()
    file.discard()
    assert file.load() is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"step": 1}', b"\xff"])
def test_what_cannot_be_read_counts_as_nothing(
    file: CheckpointFile, tmp_path: Path, content: bytes
) -> None:
    file.save(Kept(step=1, checkpoint={}))
    (written,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    written.write_bytes(content)
    assert file.load() is None


def test_a_write_that_was_cut_off_leaves_the_one_before(
    file: CheckpointFile, tmp_path: Path
) -> None:
    file.save(Kept(step=1, checkpoint={}))
    (written,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    written.with_suffix(".new").write_text('{"step": 2, "check')
    kept = file.load()
    assert kept is not None
    assert kept.step == 1


def test_what_was_not_seen_to_its_end_is_found(tmp_path: Path) -> None:
    run = UUID("0194a0e7-0000-7000-8000-000000000001")
    assert unfinished(tmp_path) == []
    for name in (str(run), "a-task"):
        CheckpointFile(tmp_path, name).save(Kept(step=1, checkpoint={}))
    assert unfinished(tmp_path) == [run]
    CheckpointFile(tmp_path, str(run)).discard()
    assert unfinished(tmp_path) == []


def test_no_session_can_reach_it(file: CheckpointFile, tmp_path: Path) -> None:
    """Session ids do not start with a dot; its folder does."""
    file.save(Kept(step=1, checkpoint={}))
    (written,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written.relative_to(tmp_path / "workspace").parts[0].startswith(".")


def test_one_at_a_time_sees_to_what_is_kept(file: CheckpointFile) -> None:
    file.save(Kept(step=1, checkpoint={}))
    holds, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with file.alone():
            holds.set()
            may_end.wait()
            file.discard()

    def second() -> Kept | None:
        holds.wait()
        with file.alone():
            return file.load()

    with ThreadPoolExecutor(2) as threads:
        threads.submit(first)
        found = threads.submit(second)
        assert not wait([found], timeout=0.3).done
        may_end.set()
        assert found.result() is None
