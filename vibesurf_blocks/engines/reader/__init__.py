"""The built-in engine: reads web pages and tells what they say, without a model."""

from vibesurf_blocks.engines.reader.engine import ReaderEngine

__all__ = ["ReaderEngine"]
