"""Every line of the table, in the order it is measured and shown."""

from __future__ import annotations

from typing import Final

from tests.benchmarks.bench import Line
from tests.benchmarks.commands import COMMANDS
from tests.benchmarks.curve import CURVE
from tests.benchmarks.growth import GROWTH
from tests.benchmarks.memory import MEMORY
from tests.benchmarks.queued import QUEUE
from tests.benchmarks.ready import READY
from tests.benchmarks.scale import SCALE
from tests.benchmarks.status import STATUS
from tests.benchmarks.steps import STEPS
from tests.benchmarks.stop import STOP
from tests.benchmarks.submits import MIRROR, SUBMIT

# Those with a stack of their own first, so that no other stack is up beside it; growth last, as it
# leaves the shared stack with many runs.
LINES: Final[tuple[Line, ...]] = (
    READY,
    MEMORY,
    STATUS,
    SCALE,
    CURVE,
    SUBMIT,
    MIRROR,
    QUEUE,
    COMMANDS,
    STOP,
    STEPS,
    GROWTH,
)
