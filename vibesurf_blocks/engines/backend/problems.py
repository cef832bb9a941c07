"""What can go wrong with a request to a backend.

EngineError
└── BackendError      the request did not lead to what was asked for
    ├── Away          no usable answer; may pass by itself, and nothing was done
    │   └── Unsure    likewise, and the backend may have done what was asked
    └── Refused       it answered that it does not do it
"""

from __future__ import annotations

from vibesurf_blocks.errors import EngineError


class BackendError(EngineError):
    """The VibeSurf backend did not do what was asked of it."""


class Away(BackendError):
    """The VibeSurf backend gives no usable answer."""


class Unsure(Away):
    """The VibeSurf backend gave no answer, and may have done what was asked of it.

    Attributes:
        pending: Whether it may also still be about to.
    """

    def __init__(self, message: str, *, pending: bool = False) -> None:
        super().__init__(message)
        self.pending = pending


class Refused(BackendError):
    """The VibeSurf backend refused a request.

    Attributes:
        status: The HTTP status of its answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
