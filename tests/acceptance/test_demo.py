"""`make demo` runs a real task end to end and leaves its report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.docs_site import ROOT, sources


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_demo_completes_and_keeps_the_report() -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout
    found = re.search(r"The report: (\S+)", demo.stdout)
    assert found is not None, demo.stdout
    report = Path(found[1]).read_text()
    assert "Page reader" in report
    for page in sources():
        assert f"{page.stem}.html" in report
