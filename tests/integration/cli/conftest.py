"""A book per test, for an agent to read."""

from tests.support.book import books

__all__ = ["books"]
