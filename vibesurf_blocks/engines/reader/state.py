"""What the reader knows after a step: pages, queues and limits; its checkpoint is this as JSON."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vibesurf_blocks.engines.reader import limits
from vibesurf_blocks.engines.reader.page import Page, fit, weight
from vibesurf_blocks.engines.reader.text import clean
from vibesurf_blocks.engines.reader.urls import find
from vibesurf_blocks.engines.reader.wishes import pages_wanted


class State(BaseModel):
    """State of a run.

    Attributes:
        version: Of this format.
        most: Pages that may be read at all: the smaller of the operator's limit and the reader's.
        wanted: Pages that were asked for with the links followed; None where links are not.
        named: URLs named by the person and not yet read.
        found: URLs found on pages and not yet read.
        pages: What was read, failed or passed over, one a step.
        visited: Short hashes of the URLs that were asked for or redirected to.
        instructions: Instructions taken in, cut and without credentials.
        further_instructions: Instructions taken in that are not listed.
        unheeded: Sentences on what was asked for and could not be done.
        progress: Share of the task that is done, 0 to 1.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    most: int = Field(ge=1)
    wanted: int | None = None
    named: list[str] = []
    found: list[str] = []
    pages: list[Page] = []
    visited: list[str] = []
    instructions: list[str] = []
    further_instructions: int = 0
    unheeded: list[str] = []
    progress: float = 0.0

    @property
    def allowed(self) -> int:
        """Pages that this run may come to."""
        return self.most if self.wanted is None else min(self.wanted, self.most)

    @property
    def read(self) -> list[Page]:
        """The pages that were read."""
        return [page for page in self.pages if page.outcome == "read"]

    @property
    def failed(self) -> list[Page]:
        """The pages that could not be read."""
        return [page for page in self.pages if page.outcome == "failed"]

    @property
    def unread(self) -> list[str]:
        """URLs that were named and are left out, as far as they are not about to be read."""
        return self.named[max(0, self.allowed - len(self.pages)) :]

    def begin(self, task: str) -> bool:
        """Take the URLs and wishes from the task; False where it names no URL."""
        found = find(task)
        self.wanted = self._limit(pages_wanted(found.rest))
        self.named = found.urls
        return bool(found.urls)

    def instruct(self, instruction: str) -> None:
        """Take in an instruction: its URLs are read too, and it may raise the number of pages."""
        found = find(instruction)
        wanted = self._limit(pages_wanted(found.rest))
        new = [url for url in found.urls if not self.knows(url) and url not in self.named]
        self.named += new
        if self.wanted is not None:
            self.wanted = min(self.wanted + len(new), self.most)
        if wanted is not None:
            # Without links followed so far, the pages read until now count as asked for.
            self.wanted = max(wanted, self.wanted or len(self.pages) + len(self.named))
        if found.credentials:
            self._cannot(
                "Credentials in an instruction are not used, because they are not kept anywhere; "
                "name them in the task."
            )
        if len(self.instructions) < limits.INSTRUCTIONS:
            self.instructions.append(clean(instruction, limits.INSTRUCTION))
        else:
            self.further_instructions += 1

    def _limit(self, wanted: int | None) -> int | None:
        if wanted is not None and wanted > self.most:
            self._cannot(f"{wanted} pages were asked for; one task reads {self.most} at the most.")
        return wanted

    def _cannot(self, sentence: str) -> None:
        if sentence not in self.unheeded and len(self.unheeded) < limits.INSTRUCTIONS:
            self.unheeded.append(sentence)

    def knows(self, url: str) -> bool:
        """Whether a URL was asked for or redirected to before."""
        return _hash(url) in self.visited

    def peek(self) -> tuple[str, bool] | None:
        """The URL to read next and whether a person named it; None where the task is done."""
        if len(self.pages) >= self.allowed:
            return None
        for url in self.named:
            if not self.knows(url):
                return url, True
        if self.wanted is not None:
            for url in self.found:
                if not self.knows(url):
                    return url, False
        return None

    def add(
        self, page: Page, visited: tuple[str, ...] = (), onward: list[str] | None = None
    ) -> Page:
        """Take in the page a step came to, and where it leads; returns what is kept of it."""
        for url in (page.url, *visited):
            if not self.knows(url):
                self.visited.append(_hash(url))
        self.named = [url for url in self.named if not self.knows(url)]
        self.found = [url for url in self.found if not self.knows(url)]
        room = limits.QUEUE_CHARS - sum(map(len, self.found))
        waiting = {*self.named, *self.found}
        for url in onward or ():
            if len(self.found) >= limits.PAGES_CAP or len(url) > room:
                break
            if url not in waiting and not self.knows(url):
                waiting.add(url)
                self.found.append(url)
                room -= len(url)
        kept = fit(page, self._share())
        self.pages.append(kept)
        self.progress = self._progress()
        return kept

    def _share(self) -> int:
        """Bytes for the page now read, such that every page still to come gets as much."""
        used = sum(map(weight, self.pages))
        # Only what is sure to come: an instruction that asks for more gets what is left.
        following = 0 if self.wanted is None else self.allowed
        to_come = max(
            1,
            min(self.allowed, max(following, len(self.pages) + len(self.named) + 1))
            - len(self.pages),
        )
        return max(0, min(limits.PAGE_BYTES, (limits.KEPT_BYTES - used) // to_come))

    def _progress(self) -> float:
        if self.peek() is None:
            return 1.0
        ahead = len(self.named) + (len(self.found) if self.wanted is not None else 0)
        whole = min(self.allowed, len(self.pages) + ahead)
        # Links found on the way make the task longer; what was shown is not taken back.
        return max(self.progress, min(0.99, round(len(self.pages) / whole, 4)))


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]
