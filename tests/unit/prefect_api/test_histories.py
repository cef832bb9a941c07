"""What was asked of a run keeps its place, whatever became of the processes that wrote it down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vibesurf_blocks.prefect_api.artifacts import merged
from vibesurf_blocks.tables.records import ControlEntry

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(operation: str, asked: int, effective: int) -> ControlEntry:
    return ControlEntry(
        operation=operation,
        asked_at=START + timedelta(seconds=asked),
        effective_at=START + timedelta(seconds=effective),
    )


PAUSE, RESUME, TOLD = entry("pause", 1, 2), entry("resume", 3, 4), entry("add_new_task", 5, 6)


def test_a_process_that_took_over_repeats_and_goes_on() -> None:
    assert merged([[PAUSE], [PAUSE, RESUME]]) == (PAUSE, RESUME)


def test_a_command_that_was_heeded_again_is_told_once() -> None:
    again = entry("resume", 3, 9)
    assert merged([[PAUSE, RESUME], [PAUSE, again, TOLD]]) == (PAUSE, RESUME, TOLD)


def test_after_a_run_was_begun_anew_nothing_is_forgotten() -> None:
    assert merged([[PAUSE, RESUME], [TOLD]]) == (PAUSE, RESUME, TOLD)
    assert merged([[PAUSE], [], [TOLD]]) == (PAUSE, TOLD)
    assert merged([]) == ()
