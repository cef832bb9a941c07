"""The backend engine: hands a task to a running VibeSurf server and follows it there."""

from vibesurf_blocks.engines.backend.engine import BackendEngine

__all__ = ["BackendEngine"]
