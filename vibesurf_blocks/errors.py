"""The errors of this package.

VibesurfError
├── InvalidInput          what a client asked for cannot be: answered with a 400
│   ├── NotFound          it names nothing that is there: answered with a 404
│   └── Conflict          it is in the way of something that is there: answered with a 409
├── Unavailable           a part that is needed does not answer: answered with a 503
├── AlertError            somebody could not be told; the alert's own run fails with this reason
├── EngineError           an engine cannot go on; the run fails with this reason
│   └── ModelError        a profile cannot be used, or its model does not answer
└── StackError            a part of the local stack did not start or keep running

An error's docstring is its default message.
"""

from __future__ import annotations


class VibesurfError(Exception):
    """Something in vibesurf-blocks went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return str(self.args[0])


class InvalidInput(VibesurfError):
    """The request cannot be carried out as it stands."""


class NotFound(InvalidInput):
    """There is nothing of this name."""


class Conflict(InvalidInput):
    """Something that is there already stands in the way."""


class Unavailable(VibesurfError):
    """A part that this needs does not answer."""


class AlertError(VibesurfError):
    """An alert could not be delivered."""


class EngineError(VibesurfError):
    """The engine cannot go on with this task."""


class ModelError(EngineError):
    """The model cannot be used."""


class StackError(VibesurfError):
    """A part of the stack did not start or did not keep running."""
