"""What the children of these tests do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def answer(code: int) -> int:
    """End with a code."""
    return code


def fail() -> None:
    """End with an error."""
    msg = "on purpose"
    raise RuntimeError(msg)


def tell(path: str) -> None:
    """Write down where and with what environment it runs."""
    Path(path).write_text(f"{Path.cwd()} {os.environ.get('WORD')} {'HOME' in os.environ}")


def sleep_with_child(path: str) -> None:
    """Start a grandchild in the same group, write both process ids down, and sleep."""
    program = "import time; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", program])
    fresh = Path(path + ".new")
    fresh.write_text(f"{os.getpid()} {child.pid}")
    fresh.rename(path)
    time.sleep(600)
