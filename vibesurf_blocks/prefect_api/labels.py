"""Labels that this project gives to flow runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

RECOVERIES: Final = "vibesurf.recoveries"
"""How often a run was started again after its process died."""

ATTEMPT: Final = "vibesurf.attempt"
"""Grows whenever a run is given to a new process; an older process sees by it that it is late."""

RECOVERED_FROM: Final = "vibesurf.recovered-from"
"""Name of the state in which the run's process was found dead."""

TROUBLE: Final = "vibesurf.trouble"
"""What is to be said at the end of a run that left something behind: an agent elsewhere."""

ALIVE: Final = "vibesurf.alive"
"""When a run that no worker watches last gave a sign of life (ISO 8601)."""

WORKER: Final = "prefect.worker.name"
"""Prefect's own label: the worker that claimed the run."""

PROFILE: Final = "vibesurf.profile"
"""Name of the LLM profile that a run uses whose task names none."""

REQUEST: Final = "vibesurf.request"
"""Digest of the body of the submit request that made the run, for repeated requests."""

PARENT: Final = "vibesurf.parent"
"""The flow run, a batch's or a workflow's, that this run is a part of."""

PART: Final = "vibesurf.part"
"""Which item or step of its parent the run is for."""

ROUND: Final = "vibesurf.round"
"""How often its parent had ended before it was made: an ended parent may be run again."""

TRY: Final = "vibesurf.try"
"""Which try at its part the run is in that round, from 0."""


def count_of(labels: Mapping[str, object], name: str) -> int:
    """The number that a label holds; 0 without it, and for nonsense: anybody may set labels."""
    text = str(labels.get(name, 0))
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
