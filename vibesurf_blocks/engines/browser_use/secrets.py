"""Hides the secrets of a run in all that leaves it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

from vibesurf_blocks.secrecy import names_secret
from vibesurf_blocks.tasks import MASK

if TYPE_CHECKING:
    from vibesurf_blocks.engines.protocol import EngineContext

Sensitive = dict[str, str | dict[str, str]]
"""Texts by placeholder, or by domain and placeholder, as browser-use takes them."""

_SHORTEST = 4
"""Characters: shorter ones are secrets only where they are said to be, and stand alone."""


_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+=-]{16,}")
"""What nobody has thought up."""


class Secrets:
    """The secrets of one run: keys, passwords, and what the agent may fill in unseen.

    A text of the agent's own is shown by its placeholder, anything else by a mask; also where it
    is written as in a URL, in JSON or in HTML.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, str]],
        others: Iterable[str],
        perhaps: Iterable[str] = (),
    ) -> None:
        """Hide texts under the placeholder each is named by, and others.

        Args:
            named: Placeholders with their texts.
            others: What nobody is to see.
            perhaps: What people are not to see, and a model may: it need not be a secret, and the
                agent might be unable to work without it.
        """
        own = {text: f"<secret>{name}</secret>" for name, text in named if text}
        sure = dict.fromkeys((one for one in others if len(one) >= _SHORTEST), MASK)
        more = dict.fromkeys((one for one in perhaps if len(one) >= _SHORTEST), MASK)
        self._all = _Hidden(more | sure | own)
        self._sure = _Hidden(sure | own)
        self._named = _pattern({text: len(text) < _SHORTEST for text in own})

    @classmethod
    def of(cls, context: EngineContext) -> Secrets:
        """All secrets that a run is given."""
        others = list(context.profile.secrets) if context.profile is not None else []
        perhaps: list[str] = []
        if context.backend is not None:
            others += context.backend.block.secrets
        given = context.tools
        for server in given.mcp.servers.values():
            for name, value in server.env.items():
                (others if _looks_secret(name, value) else perhaps).append(value)
        if given.composio is not None:
            others.append(given.composio.api_key.get_secret_value())
        if given.browser.proxy_password is not None:
            others.append(given.browser.proxy_password.get_secret_value())
        return cls(_named(sensitive_of(context)), others, perhaps)

    def hide(self, text: str) -> str:
        """The text without any secret."""
        return self._all.hide(text)

    def hide_from_model(self, text: str) -> str:
        """The text without what a model is not to see either."""
        return self._sure.hide(text)

    def hide_all(self, value: JsonValue) -> JsonValue:
        """JSON without any secret in its texts and names."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self.hide_all(one) for one in value]
        if isinstance(value, dict):
            return {self.hide(name): self.hide_all(one) for name, one in value.items()}
        return value

    @property
    def to_fill_in(self) -> bool:
        """Whether the agent may fill in anything unseen."""
        return self._named is not None

    def in_page(self, text: str) -> bool:
        """Whether a page shows one of the texts that the agent fills in unseen."""
        return self._named is not None and self._named.search(text) is not None


def sensitive_of(context: EngineContext) -> Sensitive:
    """What the agent may fill in unseen."""
    data = context.tools.browser.sensitive_data
    given: Sensitive = data.get_secret_value() if data is not None else {}
    return given


class _Hidden:
    """What hides texts, each behind another."""

    def __init__(self, shown: Mapping[str, str]) -> None:
        found: dict[str, bool] = {}
        # What is hidden already stays as it is: a name may hold the text of another.
        self._shown = {instead: instead for instead in shown.values() if instead != MASK}
        found |= dict.fromkeys(self._shown, False)
        for text, instead in shown.items():
            for spelling in _spellings(text):
                if spelling == text or spelling not in shown:
                    self._shown[spelling] = instead
                    found[spelling] = len(text) < _SHORTEST
        self._pattern = _pattern(found)

    def hide(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._shown[match[0]], text)


def _named(sensitive: Sensitive) -> Iterator[tuple[str, str]]:
    """Each placeholder with its text; two domains may use one for different texts."""
    for name, value in sensitive.items():
        if isinstance(value, dict):
            yield from value.items()
        else:
            yield name, value


def _looks_secret(name: str, value: str) -> bool:
    """Whether a variable of an MCP server is a secret, and not a setting that pages may show."""
    return (
        names_secret(name)
        or bool(_RANDOM.fullmatch(value))
        or ("://" in value and "@" in value)  # a URL with a password
    )


def _spellings(text: str) -> Iterator[str]:
    """A text as it is, and as it is written in URLs, in JSON and in HTML; some more than once."""
    yield text
    raw = text.encode(errors="replace")
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield quoted
        yield re.sub("%..", lambda code: code[0].lower(), quoted)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    escaped = html.escape(text)
    yield escaped
    yield escaped.replace("&#x27;", "&#39;")
    yield html.escape(text, quote=False)


def _pattern(texts: Mapping[str, bool]) -> re.Pattern[str] | None:
    """What finds any of the texts; those that map to True only where they stand alone."""
    # The longest first: a secret may be the beginning of another.
    longest = sorted(texts, key=len, reverse=True)
    found = (rf"(?<!\w){re.escape(one)}(?!\w)" if texts[one] else re.escape(one) for one in longest)
    return re.compile("|".join(found)) if longest else None
