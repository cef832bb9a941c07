"""The folder a run starts in goes with the run, or with the next worker after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vibesurf_blocks.worker.folders import starting_folder, sweep

HOLDS = """
import sys, time
from pathlib import Path
from vibesurf_blocks.worker.folders import starting_folder
with starting_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_it_lies_in_the_workspace_and_goes_with_the_run(tmp_path: Path) -> None:
    with starting_folder(tmp_path) as folder:
        assert folder.is_relative_to(tmp_path)
        assert folder.is_dir()
        (folder / "file").write_text("left by the run")
    assert not folder.exists()


def test_a_killed_workers_folder_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        try:
            with starting_folder(tmp_path) as mine:
                assert sweep(tmp_path) == 0
                assert mine.is_dir()
            assert folder.is_dir()
        finally:
            other.kill()
    assert folder.is_dir()
    assert sweep(tmp_path) == 1
    assert not folder.exists()


def test_there_is_nothing_to_sweep_in_a_new_workspace(tmp_path: Path) -> None:
    assert sweep(tmp_path / "workspace") == 0
