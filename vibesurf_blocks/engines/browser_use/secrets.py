"""Hides the secrets of a run in all that leaves it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from vibesurf_blocks.tasks import MASK

if TYPE_CHECKING:
    from vibesurf_blocks.engines.protocol import EngineContext

Sensitive = dict[str, str | dict[str, str]]
"""Texts by placeholder, or by domain and placeholder, as browser-use takes them."""

_SHORTEST = 4
"""Characters: shorter ones are no secrets, and hiding them would spoil every text."""


class Secrets:
    """The secrets of one run: keys, passwords, and what the agent may fill in unseen.

    A text of the agent's own is shown by its placeholder, anything else by a mask.
    """

    def __init__(self, named: Mapping[str, str], others: Iterable[str]) -> None:
        """Hide texts under the placeholder each is named by, and others."""
        shown = {text: MASK for text in others if len(text) >= _SHORTEST}
        for name, text in named.items():
            if len(text) >= _SHORTEST:
                shown[text] = f"<secret>{name}</secret>"
        self._shown = shown
        self._named = {text for text in named.values() if len(text) >= _SHORTEST}
        # The longest first: a secret may be the beginning of another.
        longest = sorted(shown, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    @classmethod
    def of(cls, context: EngineContext) -> Secrets:
        """All secrets that a run is given."""
        others = list(context.profile.secrets) if context.profile is not None else []
        given = context.tools
        for server in given.mcp.servers.values():
            others += server.env.values()
        if given.composio is not None:
            others.append(given.composio.api_key.get_secret_value())
        if given.browser.proxy_password is not None:
            others.append(given.browser.proxy_password.get_secret_value())
        return cls(_flat(sensitive_of(context)), others)

    def hide(self, text: str) -> str:
        """The text without any secret."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._shown[found[0]], text)

    def hide_all(self, value: JsonValue) -> JsonValue:
        """JSON without any secret in its texts and names."""
        if self._pattern is None:
            return value
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
        return bool(self._named)

    def in_page(self, text: str) -> bool:
        """Whether a page shows one of the texts that the agent fills in unseen."""
        return any(secret in text for secret in self._named)


def sensitive_of(context: EngineContext) -> Sensitive:
    """What the agent may fill in unseen."""
    data = context.tools.browser.sensitive_data
    given: Sensitive = data.get_secret_value() if data is not None else {}
    return given


def _flat(sensitive: Sensitive) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in sensitive.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat
