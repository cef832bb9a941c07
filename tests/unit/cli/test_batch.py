"""What `vibesurf-blocks batch` refuses before it asks anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vibesurf_blocks.cli.batch import order
from vibesurf_blocks.cli.main import app
from vibesurf_blocks.errors import InvalidInput


@pytest.mark.parametrize("words", [[], ["x.csv", "--retry", "y"]])
def test_it_wants_a_file_or_a_batch(words: list[str]) -> None:
    said = CliRunner().invoke(app, ["batch", *words])
    assert said.exit_code == 2
    assert "name a file of tasks" in said.output


def test_it_says_what_is_wrong_with_file_and_options(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        order(tmp_path / "a.yaml", session_id="s")
    file = tmp_path / "b.yaml"
    file.write_text("- Read this")
    with pytest.raises(InvalidInput, match=r"mode: Input should be 'serial' or 'parallel'"):
        order(file, session_id="s", mode="fast")
    assert order(file, session_id="s")["items"] == [{"task_description": "Read this"}]
