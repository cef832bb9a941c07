"""What calls of a model cost: by the profile's own prices, else by those browser-use brings."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from browser_use.llm.views import ChatInvokeUsage

    from vibesurf_blocks.blocks.llm_profile import LLMProfile

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Prices:
    """US dollars a token."""

    sent: float
    cached: float
    answered: float


def has_price(profile: LLMProfile) -> bool:
    """Whether the cost of the profile's model can be told."""
    return _prices(profile) is not None


def cost_of(profile: LLMProfile, calls: Iterable[ChatInvokeUsage]) -> float | None:
    """What calls have cost in US dollars, None where the price is not known."""
    prices = _prices(profile)
    if prices is None:
        return None
    total = 0.0
    for call in calls:
        cached = call.prompt_cached_tokens or 0
        total += (call.prompt_tokens - cached) * prices.sent + cached * prices.cached
        total += call.completion_tokens * prices.answered
    return total


def _prices(profile: LLMProfile) -> _Prices | None:
    if profile.input_price is not None and profile.output_price is not None:
        sent = profile.input_price / _MILLION
        cached = profile.cached_input_price
        return _Prices(
            sent,
            sent if cached is None else cached / _MILLION,
            profile.output_price / _MILLION,
        )
    # Imported with the client; its prices of other models would have to be fetched from the net.
    table = sys.modules.get("browser_use.tokens.custom_pricing")
    known = table.CUSTOM_MODEL_PRICING.get(profile.model) if table is not None else None
    if known is None:
        return None
    sent = float(known["input_cost_per_token"])
    return _Prices(
        sent,
        float(known.get("cache_read_input_token_cost") or sent),
        float(known["output_cost_per_token"]),
    )
