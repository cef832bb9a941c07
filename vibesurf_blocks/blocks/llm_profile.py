"""An LLM profile: which model, where it answers, how to be let in, and its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import ConfigDict, Field, JsonValue, SecretStr, field_validator

from vibesurf_blocks.blocks.fields import header_secret, http_url
from vibesurf_blocks.blocks.looks import DOCUMENTATION, Logo
from vibesurf_blocks.secrecy import names_secret
from vibesurf_blocks.tasks import BUILTIN_PROFILE, LLM_PROFILE_TYPE, MASK, ProfileText, Text

Provider = Literal[
    "openai",
    "openai-compatible",
    "anthropic",
    "google",
    "azure",
    "groq",
    "ollama",
    "deepseek",
    "openrouter",
    "mistral",
    "cerebras",
    "vercel",
    "orcarouter",
    "aws-bedrock",
    "anthropic-bedrock",
    "oci",
    "litellm",
    "browser-use",
    "vibesurf-backend",
]
"""Who serves models; each of them has a client in `vibesurf_blocks.models.clients`.

The last is no model: tasks go to a VibeSurf backend, whose own LLM profile `model` names.
"""

_SHORTEST_SECRET: Final = 4
_OTHER_NAMES: Final = {
    "azure-openai": "azure",
    "gemini": "google",
    "lm-studio": "openai-compatible",
    "openai-like": "openai-compatible",
    "bedrock": "aws-bedrock",
    "vibesurf": "vibesurf-backend",
}


class LLMProfile(Block):
    """A language model that agents use.

    Example:
        Make a profile and load it again:

        ```python
        from vibesurf_blocks.blocks import LLMProfile

        LLMProfile(provider="openai", model="gpt-4.1", api_key="…").save("BLOCK_NAME")
        profile = LLMProfile.load("BLOCK_NAME")
        ```
    """

    # No error may show what was given: it may be a key.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "LLM Profile"
    _block_type_slug = LLM_PROFILE_TYPE
    _logo_url = Logo("llm-profile")
    _documentation_url = DOCUMENTATION
    _description = (
        "A language model that agents use: provider, model, key and parameters. Tasks name it by "
        "its profile name."
    )

    profile_name: Annotated[
        ProfileText | None,
        Field(
            title="Profile name",
            description="Name by which tasks ask for this profile, any text up to 100 characters; "
            "by default the name of the block.",
        ),
    ] = None
    provider: Annotated[
        Provider,
        Field(
            description="Who serves the model; `vibesurf-backend` hands whole tasks to the "
            "VibeSurf backend of a VibeSurf Backend block."
        ),
    ]
    model: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=255,
            description="Name of the model, as the provider calls it; of a VibeSurf backend the "
            "LLM profile to use there.",
        ),
    ]
    base_url: Annotated[
        str | None,
        Field(
            max_length=500,
            title="Base URL",
            description="Where the model answers, such as `http://127.0.0.1:8000/v1`; by default "
            "the provider's own address.",
        ),
    ] = None
    api_key: Annotated[
        SecretStr | None,
        Field(title="API key", description="The provider's key, in one line."),
    ] = None
    temperature: Annotated[
        float | None, Field(ge=0, le=2, description="Sampling temperature, 0 to 2.")
    ] = None
    max_tokens: Annotated[
        int | None, Field(ge=1, description="Tokens of one answer at the most.")
    ] = None
    top_p: Annotated[
        float | None, Field(ge=0, le=1, description="Share of the likeliest tokens, 0 to 1.")
    ] = None
    frequency_penalty: Annotated[
        float | None, Field(ge=-2, le=2, description="Penalty of repeated tokens, -2 to 2.")
    ] = None
    seed: Annotated[int | None, Field(description="Seed of the sampling.")] = None
    provider_config: Annotated[
        dict[str, JsonValue],
        Field(
            description="Further options of the provider's client, such as "
            '`{"api_version": "2024-10-21"}`; secrets belong into the field below. Of a VibeSurf '
            'backend `{"backend": "BLOCK_NAME"}`.',
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it
    provider_secrets: Annotated[
        SecretDict | None,
        Field(
            description="Further options that are secret, such as "
            '`{"aws_secret_access_key": "…"}`; they are added to the provider config.',
        ),
    ] = None
    vision: Annotated[
        bool, Field(description="Whether the model is shown pictures of the pages.")
    ] = True
    input_price: Annotated[
        float | None,
        Field(ge=0, description="US dollars for a million tokens sent; for `max_cost` and totals."),
    ] = None
    cached_input_price: Annotated[
        float | None,
        Field(
            ge=0,
            description="US dollars for a million of them that the provider had in its cache; by "
            "default as for any other.",
        ),
    ] = None
    output_price: Annotated[
        float | None, Field(ge=0, description="US dollars for a million tokens answered.")
    ] = None
    description: Annotated[
        Text | None, Field(max_length=10_000, description="What the profile is for.")
    ] = None
    active: Annotated[bool, Field(description="Whether tasks may use the profile.")] = True
    default: Annotated[
        bool,
        Field(
            description="Whether tasks that name no profile use this one; of several the one that "
            "was saved last."
        ),
    ] = False

    @field_validator("profile_name")
    @classmethod
    def _not_taken(cls, value: str | None) -> str | None:
        if value == BUILTIN_PROFILE:
            msg = f"must not be {BUILTIN_PROFILE!r}: that is the built-in reader"
            raise ValueError(msg)
        return value

    @field_validator("provider", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        name = value.strip().lower().replace("_", "-").replace(" ", "-")
        return _OTHER_NAMES.get(name, name)

    @field_validator("base_url", mode="before")
    @classmethod
    def _http(cls, value: object) -> object:
        if isinstance(value, str):
            return http_url(value) if value.strip() else None
        return value

    @field_validator("profile_name", "api_key", "description", mode="before")
    @classmethod
    def _none_for_empty(cls, value: object) -> object:
        # The UI sends a text that was typed and deleted again as an empty one.
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("api_key")
    @classmethod
    def _one_line(cls, value: SecretStr | None) -> SecretStr | None:
        return header_secret(value)

    @field_validator("provider_config")
    @classmethod
    def _no_secrets(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in secret_names(value):
            msg = f"must hold no secrets: put {name!r} into provider_secrets"
            raise ValueError(msg)
        return value

    @property
    def secrets(self) -> list[str]:
        """Every secret of the profile, the longest first."""
        found = [self.api_key.get_secret_value()] if self.api_key is not None else []
        if self.provider_secrets is not None:
            found += _texts(self.provider_secrets.get_secret_value())
        return sorted(filter(None, found), key=len, reverse=True)

    def hide(self, text: str) -> str:
        """The text with every secret of the profile masked: an answer may repeat what was sent."""
        for secret in self.secrets:
            # Shorter ones guard nothing, and masking them would garble every word.
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, MASK)
        return text


def secret_names(value: JsonValue) -> Iterator[str]:
    """The names in a configuration whose values look as if they were secrets."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and inner and names_secret(name):
                yield name
            else:
                yield from secret_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secret_names(inner)


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - what `SecretDict` holds
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return []
