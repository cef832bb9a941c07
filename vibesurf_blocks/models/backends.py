"""The VibeSurf backend that an LLM profile names: finds its block, and sees that it answers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from vibesurf_blocks.blocks import VibeSurfBackend
from vibesurf_blocks.blocks.fields import first_problem
from vibesurf_blocks.engines.backend.client import BackendClient
from vibesurf_blocks.errors import EngineError, ModelError
from vibesurf_blocks.prefect_api import block_documents
from vibesurf_blocks.tasks import BACKEND_BLOCK, BACKEND_BLOCK_TYPE, BACKEND_PROVIDER

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from vibesurf_blocks.blocks import LLMProfile
    from vibesurf_blocks.settings import Settings

logger = logging.getLogger(__name__)

_FIND_SECONDS: Final = 10.0
"""Seconds that finding the block may take beside the backend's answer."""

_OPTION: Final = "backend"
_EMPTY: Final = (
    "base_url",
    "api_key",
    "temperature",
    "max_tokens",
    "top_p",
    "frequency_penalty",
    "seed",
    "provider_secrets",
)
"""Fields of a profile that say how to ask a model."""


def is_backend(profile: LLMProfile | None) -> bool:
    """Whether tasks of a profile are handed to a VibeSurf backend."""
    return profile is not None and profile.provider == BACKEND_PROVIDER


def backend_name(profile: LLMProfile) -> str:
    """The name of the VibeSurf Backend block that a profile uses.

    Raises:
        ModelError: The profile has options that a backend does not take.
    """
    for field in _EMPTY:
        if getattr(profile, field) is not None:
            msg = (
                f"The provider {BACKEND_PROVIDER} takes no {field}: leave it empty in the block. "
                "Where the backend is and how to be let in says the VibeSurf Backend block, what "
                "its model is the LLM profile there."
            )
            raise ModelError(msg)
    unknown = sorted(profile.provider_config.keys() - {_OPTION})
    if unknown:
        msg = (
            f"The provider {BACKEND_PROVIDER} knows no option {unknown[0]!r} of provider_config. "
            f"It knows: {_OPTION}."
        )
        raise ModelError(msg)
    name = profile.provider_config.get(_OPTION, BACKEND_BLOCK)
    if not isinstance(name, str) or not name.strip():
        msg = f"provider_config.{_OPTION} must be the name of a VibeSurf Backend block."
        raise ModelError(msg)
    return name


async def find_backend(client: PrefectClient, name: str) -> VibeSurfBackend:
    """The VibeSurf Backend block of this name, with its secrets.

    Raises:
        ModelError: There is none, or what it says cannot be.
    """
    document = await block_documents.named(client, BACKEND_BLOCK_TYPE, name)
    if document is None:
        msg = (
            f"The VibeSurf Backend block {name!r} does not exist. Make it in the Prefect UI "
            "(Blocks, VibeSurf Backend), or name another as `backend` in the profile's "
            "provider_config."
        )
        raise ModelError(msg)
    try:
        return VibeSurfBackend.model_validate(document.data)
    except ValidationError as error:
        msg = (
            f"The VibeSurf Backend block {name!r} cannot be used: {first_problem(error)}. Correct "
            "it in the Prefect UI (Blocks)."
        )
        raise ModelError(msg) from None


async def check_backend(client: PrefectClient, profile: LLMProfile, settings: Settings) -> None:
    """See that the backend of a profile answers as its task API does.

    Raises:
        ModelError: It does not; the message says why and what to change, and holds no secret.
    """
    seconds = settings.model_check_seconds
    name = backend_name(profile)
    try:
        async with asyncio.timeout(seconds + _FIND_SECONDS):
            await _look(await find_backend(client, name), seconds)
    except TimeoutError:
        msg = f"The VibeSurf backend {name!r} could not be asked within {seconds:g} s."
        raise ModelError(msg) from None


async def _look(block: VibeSurfBackend, seconds: float) -> None:
    backend = BackendClient(block, logger)
    try:
        await backend.look(attempts=1, seconds=seconds)
    except EngineError as error:
        raise ModelError(error.message) from None
    finally:
        await backend.aclose()
