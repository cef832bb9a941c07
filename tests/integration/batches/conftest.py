"""A book per test, for an agent to read, and somebody who is told of it."""

from tests.support.alerts import block, receiver
from tests.support.book import books

__all__ = ["block", "books", "receiver"]
