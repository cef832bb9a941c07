"""What the control tests have, here too."""

from tests.support.book import books

__all__ = ["books"]
