"""What a fork server does once, a run need not do again."""

from __future__ import annotations

import subprocess
import sys
import threading

from prefect.logging.configuration import setup_logging

_BELOW = """
from importlib import import_module
import sys
from vibesurf_blocks.worker.worker import preloads
*others, last = preloads()
for name in others:
    import_module(name)
early = last in sys.modules
import_module(last)
from pydantic import BaseModel
def below(base):
    for one in base.__subclasses__():
        yield one
        yield from below(one)
print(early, [f"{one.__module__}.{one.__name__}" for one in below(BaseModel)
              if one.__module__.startswith("prefect.") and not one.__pydantic_complete__])
"""


def test_models_of_prefect_are_built_before_the_first_run() -> None:
    """With one left, each run spends some of its way to Running on building it."""
    done = subprocess.run(
        [sys.executable, "-c", _BELOW], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False []"


def test_getting_warm_starts_no_thread() -> None:
    before = set(threading.enumerate())  # other tests may have left some
    setup_logging(incremental=False)
    assert set(threading.enumerate()) <= before
