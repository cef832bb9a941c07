"""Pages that take a moment and count who reads at once: the agents' own view of a slot."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable

from tests.support.site import Site, Visit

_LOOK_SECONDS = 0.01


class Turnstile:
    """Makes tasks, and counts the agents that are inside at once.

    A task is inside while one of its pages is being read. One that hangs up, as its process was
    killed, is out at that moment.

    Attributes:
        order: The tasks in the order in which they came in first.
        most: The most that were inside at once.
        twice: Times that an agent came in while another one read for the very same task.
    """

    def __init__(self, site: Site, seconds: float) -> None:
        """Count on this site; each page takes so long."""
        self.order: list[int] = []
        self.most = 0
        self.twice = 0
        self.over: list[tuple[float, tuple[int, ...]]] = []
        self.limit = 1
        self._seconds = seconds
        self._inside: list[int] = []
        self._site = site
        self._lock = threading.Lock()

    def task(self, number: int, pages: int = 2) -> str:
        """A task that reads so many of the pages."""
        paths = [f"/turnstile/{number}/{page}" for page in range(1, pages + 1)]
        for path in paths:
            self._site.pages[path] = self._page(number)
        return "Read " + " ".join(self._site.url(path) for path in paths)

    def _page(self, number: int) -> Callable[[Visit], None]:
        def page(visit: Visit) -> None:
            with self._lock:
                if number not in self.order:
                    self.order.append(number)
                self.twice += number in self._inside
                self._inside.append(number)
                self.most = max(self.most, len(self._inside))
                if len(self._inside) > self.limit:
                    self.over.append((time.time(), tuple(self._inside)))
            end = time.monotonic() + self._seconds
            while time.monotonic() < end and not _hung_up(visit.connection):
                time.sleep(_LOOK_SECONDS)
            with self._lock:
                self._inside.remove(number)
            visit.answer(b"<title>Turnstile</title><p>Read.</p>")

        return page


def _hung_up(connection: socket.socket) -> bool:
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
