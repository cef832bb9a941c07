"""How far a run has come: what it goes on with when it is started again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vibesurf_blocks.engines.protocol import Usage
from vibesurf_blocks.run.checkpoints import Kept

if TYPE_CHECKING:
    from vibesurf_blocks.engines.protocol import Engine
    from vibesurf_blocks.run.checkpoints import CheckpointFile
    from vibesurf_blocks.run.publisher import Publisher
    from vibesurf_blocks.tables.records import ControlEntry


class Course:
    """What has become of a run so far, kept in its checkpoint with the engine's state.

    Attributes:
        steps: Steps finished.
        finished: Whether the last of them finished the task.
        resting: Whether the run is paused.
        seconds: Seconds it has worked, pauses apart.
        usage: What it has used of its model.
        heeded: Ids of the commands that were heeded.
    """

    def __init__(self, checkpoints: CheckpointFile, engine: Engine, publisher: Publisher) -> None:
        self._checkpoints = checkpoints
        self._engine = engine
        self._publisher = publisher
        self._history: list[ControlEntry] = []
        self.steps = 0
        self.finished = False
        self.resting = False
        self.seconds = 0.0
        self.usage = Usage()
        self.heeded: list[str] = []

    def restore(self, kept: Kept) -> None:
        """Go on from what was kept, the engine and what is left to publish too.

        Raises:
            EngineError: The engine cannot go on from it.
        """
        self._engine.restore(kept.checkpoint)
        self.steps = kept.step
        self.finished = kept.done
        self.resting = kept.resting
        self.seconds = kept.seconds
        self.usage = kept.usage
        self.heeded = list(kept.heeded)
        self._history = list(kept.history)
        self._publisher.restore(kept.untold, kept.history)

    def keep(self) -> None:
        """Keep it, so that an end of the process loses nothing of it.

        Raises:
            OSError: It cannot be written.
        """
        self._checkpoints.save(
            Kept(
                step=self.steps,
                done=self.finished,
                resting=self.resting,
                seconds=self.seconds,
                heeded=tuple(self.heeded),
                history=tuple(self._history),
                usage=self.usage,
                untold=self._publisher.untold,
                checkpoint=self._engine.checkpoint(),
            )
        )

    def note(self, entry: ControlEntry) -> None:
        """Take note of something that was asked of the run, as in effect from now on."""
        now = datetime.now(UTC)
        self._history.append(entry.model_copy(update={"effective_at": now, "step": self.steps}))
        self._publisher.history(self._history)
