"""A book: pages of a site that are answered one by one, when the test says so, and counted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.support.eventually import eventually
from tests.support.site import Handler, Site, Visit

ASKED_SECONDS = 30.0
"""Seconds until an agent asks for its next page, on a busy machine and with a recovery between."""

_numbers = itertools.count(1)


class Book:
    """`size` pages for one run. An agent that reads them takes one step per page, in order.

    A page that was let go is answered at once; all others are held until then.
    """

    def __init__(self, site: Site, size: int) -> None:
        self.size = size
        self._site = site
        self._open = [threading.Event() for _ in range(size)]
        self._name = f"book-{next(_numbers)}"
        for page, event in enumerate(self._open, 1):
            site.pages[self.path(page)] = self._answer(page, event)

    @property
    def task(self) -> str:
        """The description of a task that reads the whole book."""
        return "Read " + " ".join(self.url(page) for page in range(1, self.size + 1))

    @property
    def asked(self) -> list[int]:
        """How often each page was asked for."""
        return [self._site.hits[self.path(page)] for page in range(1, self.size + 1)]

    def path(self, page: int) -> str:
        """Path of a page; they count from 1."""
        return f"/{self._name}/{page}"

    def url(self, page: int) -> str:
        """Address of a page."""
        return self._site.url(self.path(page))

    def let(self, *pages: int) -> None:
        """Answer these pages, now and whenever they are asked for."""
        for page in pages:
            self._open[page - 1].set()

    def let_all(self) -> None:
        """Answer every page."""
        self.let(*range(1, self.size + 1))

    async def until_asked(
        self, page: int, times: int = 1, *, timeout: float = ASKED_SECONDS
    ) -> None:
        """Wait until an agent asks for a page, for this time."""

        async def asked() -> bool:
            return self.asked[page - 1] >= times

        try:
            await eventually(asked, timeout=timeout, pause=0.01)
        except TimeoutError as error:
            raise AssertionError(f"page {page} was asked for: {self.asked}") from error

    def held_back(self, pages: Iterable[int]) -> bool:
        """Whether none of these pages was asked for."""
        return not any(self.asked[page - 1] for page in pages)

    def _answer(self, page: int, event: threading.Event) -> Handler:
        body = f"<html><title>Page {page}</title><body><p>Text of page {page}.</p></body></html>"

        def answer(visit: Visit) -> None:
            while not event.wait(0.02):
                if self._site.closing.is_set():
                    return
            visit.answer(body.encode())

        return answer


Books = Callable[[int], Book]
"""Makes a book of so many pages."""


@pytest.fixture
def books(site: Site) -> Iterator[Books]:
    """Makes books; at the end of the test every page of theirs is let go."""
    made: list[Book] = []

    def make(size: int) -> Book:
        made.append(Book(site, size))
        return made[-1]

    yield make
    for book in made:
        book.let_all()
