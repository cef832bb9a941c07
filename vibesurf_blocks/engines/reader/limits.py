"""The reader's fixed limits; what an operator may change stands in `vibesurf_blocks.settings`."""

from __future__ import annotations

PAGES_CAP = 100
"""Pages one task reads at the most, whatever it asks for."""

FOLLOW_DEFAULT = 10
"""Pages read where the task says 'follow links' and names no number."""

REDIRECTS = 10
"""Redirects followed for one page."""

RETRY_AFTER = 30.0
"""Seconds a server may ask to be left alone and still be asked again."""

BACKOFF = 0.25
"""Seconds before the second attempt at the most; doubles with every further one."""

NAMED_URL = 2_000
"""Characters of a URL that a person names."""

FOUND_URL = 500
"""Characters of a URL found on a page; longer ones are not followed."""

QUEUE_CHARS = 40_000
"""Characters of all URLs waiting to be followed."""

TITLE = 200
"""Characters of a title."""

REASON = 300
"""Characters of the reason why a page could not be read."""

INSTRUCTION = 500
"""Characters of an instruction that are shown; its URLs are read in full."""

INSTRUCTIONS = 20
"""Instructions that are shown."""

KEPT_BYTES = 200_000
"""Bytes of JSON that all pages of a run share: text, outlines, tables and links."""

PAGE_BYTES = 40_000
"""Bytes of JSON that are kept of one page."""

DIGEST_BYTES = 300_000
"""Bytes of markdown that the sections of all pages share."""

RICH_CHARS = 1_000_000
RICH_ELEMENTS = 12_000
"""Above either, the main text is all visible text: telling it from the rest takes time that grows
with the square of the page (40 s for 5 MB)."""
