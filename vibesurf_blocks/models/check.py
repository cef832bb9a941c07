"""Asks a model one short question, and says in a sentence what to do where it does not answer.

The question is asked in a thread with an event loop of its own: importing a provider's client takes
a second or more, and some clients block while they wait.
"""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models import library
from vibesurf_blocks.models.clients import chat_model
from vibesurf_blocks.models.patience import causes, in_thread, status_of

if TYPE_CHECKING:
    from vibesurf_blocks.blocks.llm_profile import LLMProfile
    from vibesurf_blocks.settings import Settings

QUESTION: Final = "What is the capital of France? Answer with its name alone."
_ANSWER: Final = "pari"

_IMPORT_SECONDS: Final = 2.0
"""Seconds that making the client may take beside the model's answer."""

_SHOWN: Final = 200
_CUT_OFF: Final = {"length", "max_tokens", "MAX_TOKENS"}
"""Reasons of an answer's end that say: the model works, and was given no room to answer."""


async def check_model(profile: LLMProfile, settings: Settings) -> None:
    """See that the model of a profile answers.

    Raises:
        ModelError: It does not; the message says why and what to change, and holds no secret.
    """
    seconds = settings.model_check_seconds
    try:
        async with asyncio.timeout(seconds + _IMPORT_SECONDS):
            await in_thread(lambda: _ask(profile, settings))
    except TimeoutError:
        raise _too_slow(profile, seconds) from None


async def _ask(profile: LLMProfile, settings: Settings) -> None:
    seconds = settings.model_check_seconds
    model = chat_model(profile, settings=settings, timeout=seconds, attempts=1)
    messages = library.load("browser_use.llm.messages", settings)
    try:
        async with asyncio.timeout(seconds):
            said = await model.ainvoke([messages.UserMessage(content=QUESTION)])
    except TimeoutError:
        raise _too_slow(profile, seconds) from None
    except Exception as error:  # noqa: BLE001 - each provider's client has errors of its own
        raise ModelError(_explained(error, profile, seconds)) from None
    answer = str(said.completion or "")
    plain = unicodedata.normalize("NFKD", answer).casefold()
    if _ANSWER in plain or (not answer.strip() and said.stop_reason in _CUT_OFF):
        return
    msg = (
        f"The model {profile.model!r} at {_where(profile)} answered a simple question with "
        f"nonsense: {_shown(answer, profile) or 'nothing'}. Is this the model you mean?"
    )
    raise ModelError(msg)


def _explained(error: Exception, profile: LLMProfile, seconds: float) -> str:
    """What went wrong, for a person who can change the profile."""
    where = _where(profile)
    names = [type(one).__name__ for one in causes(error)]
    if any("Timeout" in name for name in names):
        return _too_slow(profile, seconds).message
    detail = _shown(str(error), profile)
    if any(isinstance(one, ImportError) for one in causes(error)):
        return f"The provider {profile.provider} needs a package that is not installed: {detail}."
    status = status_of(error)
    match status:
        case 401 | 403:
            # What the provider says of the key may repeat a part of it.
            return f"{where} refused the API key ({status}). Put a valid key into the block."
        case 404 | 400 if _about_model(detail, profile):
            return (
                f"{where} knows no model {profile.model!r} ({status}). Correct the model's name in "
                "the block."
            )
        case 404 | 405:
            return (
                f"There is no model's API at {where} ({status}: {detail}). Correct the base URL; "
                "it often ends in /v1."
            )
        case 402 | 429:
            return (
                f"{where} refuses requests for now ({status}: {detail}). See to the account's "
                "limits and credit, or try again later."
            )
        case int() if 400 <= status < 500:
            return (
                f"{where} refused the request ({status}: {detail}). Correct the profile's "
                "parameters."
            )
        case int():
            return f"{where} has a fault ({status}: {detail}). Try again later."
    if any("Connect" in name for name in names):
        return (
            f"{where} cannot be reached: {_reason(error, profile)}. Correct the base URL, and see "
            "that the server runs."
        )
    return (
        f"{where} answered, but not as a model's API does: {detail}. Is the base URL that of the "
        "API?"
    )


def _about_model(detail: str, profile: LLMProfile) -> bool:
    words = detail.casefold()
    return "model" in words and (
        profile.model.casefold() in words or "not found" in words or "exist" in words
    )


def _reason(error: Exception, profile: LLMProfile) -> str:
    """The innermost cause that says anything."""
    said = [str(one) for one in causes(error) if str(one).strip()]
    return _shown(said[-1] if said else type(error).__name__, profile)


def _too_slow(profile: LLMProfile, seconds: float) -> ModelError:
    return ModelError(
        f"{_where(profile)} gave no answer within {seconds:g} s. See that the model is loaded and "
        "not overloaded, or raise VIBESURF_MODEL_CHECK_SECONDS."
    )


def _where(profile: LLMProfile) -> str:
    return profile.base_url or f"The provider {profile.provider}"


def _shown(text: str, profile: LLMProfile) -> str:
    # Masked before it is cut: half a key would not be found.
    words = " ".join(profile.hide(text).split())
    return words[:_SHOWN] + ("…" if len(words) > _SHOWN else "")
