"""The client of a profile's model: one of those that browser-use brings, set up by the profile.

The table says which client serves a provider, and under which name it takes each of our fields. A
name with a dot leads into a dictionary of options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models import library
from vibesurf_blocks.models.patience import make_patient
from vibesurf_blocks.settings import Settings

if TYPE_CHECKING:
    from browser_use.llm.base import BaseChatModel

    from vibesurf_blocks.blocks.llm_profile import LLMProfile, Provider

_PARAMETERS: Final = ("temperature", "max_tokens", "top_p", "frequency_penalty", "seed")
_NO_KEY: Final = "none"
"""Sent to servers that ask for no key: the clients insist on one."""


@dataclass(frozen=True, slots=True)
class _Client:
    """A client of browser-use.

    Attributes:
        module: Under `browser_use.llm`.
        name: Its class.
        takes: Where it takes our fields, `timeout` and `retries`; the others it has not.
        key: Whether it needs a key, can do without, or takes none.
        needs_url: Whether it has no address of its own.
        counts_first: Whether its `retries` counts the first try too.
        milliseconds: Whether its `timeout` is told in these.
        blocks: Whether it blocks its event loop while it waits for an answer.
    """

    module: str
    name: str
    takes: Mapping[str, str] = field(default_factory=dict)
    key: bool | None = True
    needs_url: bool = False
    counts_first: bool = False
    milliseconds: bool = False
    blocks: bool = False

    @property
    def is_patient(self) -> bool:
        """Whether it limits and repeats requests itself."""
        return {"timeout", "retries"} <= self.takes.keys()


def _takes(*names: str, **places: str) -> dict[str, str]:
    return {name: name for name in names} | places


_SAMPLING: Final = ("temperature", "top_p", "seed")
_OPENAI: Final = _takes(
    *_SAMPLING,
    "api_key",
    "base_url",
    "timeout",
    "frequency_penalty",
    max_tokens="max_completion_tokens",
    retries="max_retries",
)
_ROUTER: Final = _takes(
    *_SAMPLING,
    "api_key",
    "base_url",
    "timeout",
    max_tokens="extra_body.max_tokens",
    frequency_penalty="extra_body.frequency_penalty",
    retries="max_retries",
)
_WITH_PARAMS: Final = _takes(
    *_SAMPLING,
    "api_key",
    "base_url",
    "timeout",
    "max_tokens",
    retries="client_params.max_retries",
)
_BEDROCK: Final = _takes(*_SAMPLING, "max_tokens")

CLIENTS: Final[Mapping[Provider, _Client]] = {
    "openai": _Client("openai.chat", "ChatOpenAI", _OPENAI),
    "openai-compatible": _Client(
        "openai.like", "ChatOpenAILike", _OPENAI, key=False, needs_url=True
    ),
    "anthropic": _Client(
        "anthropic.chat",
        "ChatAnthropic",
        _takes(*_SAMPLING, "api_key", "base_url", "timeout", "max_tokens", retries="max_retries"),
    ),
    "google": _Client(
        "google.chat",
        "ChatGoogle",
        _takes(
            *_SAMPLING,
            "api_key",
            base_url="http_options.base_url",
            timeout="http_options.timeout",
            max_tokens="max_output_tokens",
            frequency_penalty="config.frequency_penalty",
            retries="max_retries",
        ),
        counts_first=True,
        milliseconds=True,
    ),
    "azure": _Client(
        "azure.chat", "ChatAzureOpenAI", {**_OPENAI, "base_url": "azure_endpoint"}, needs_url=True
    ),
    "groq": _Client(
        "groq.chat",
        "ChatGroq",
        _takes(*_SAMPLING, "api_key", "base_url", "timeout", retries="max_retries"),
    ),
    "ollama": _Client(
        "ollama.chat",
        "ChatOllama",
        {name: f"ollama_options.{name}" for name in (*_SAMPLING, "frequency_penalty")}
        | _takes("timeout", base_url="host", max_tokens="ollama_options.num_predict"),
        key=None,
    ),
    "deepseek": _Client("deepseek.chat", "ChatDeepSeek", _WITH_PARAMS),
    "openrouter": _Client("openrouter.chat", "ChatOpenRouter", _ROUTER),
    "mistral": _Client(
        "mistral.chat",
        "ChatMistral",
        _takes(*_SAMPLING, "api_key", "base_url", "timeout", "max_tokens", retries="max_retries"),
    ),
    "cerebras": _Client("cerebras.chat", "ChatCerebras", _WITH_PARAMS),
    "vercel": _Client(
        "vercel.chat",
        "ChatVercel",
        _takes(
            "temperature",
            "top_p",
            "api_key",
            "base_url",
            "timeout",
            "max_tokens",
            retries="max_retries",
        ),
    ),
    "orcarouter": _Client("orcarouter.chat", "ChatOrcaRouter", _ROUTER),
    "aws-bedrock": _Client("aws.chat_bedrock", "ChatAWSBedrock", _BEDROCK, key=None, blocks=True),
    "anthropic-bedrock": _Client(
        "aws.chat_anthropic",
        "ChatAnthropicBedrock",
        {**_BEDROCK, "retries": "max_retries"},
        key=None,
    ),
    "oci": _Client(
        "oci_raw.chat",
        "ChatOCIRaw",
        _takes(
            "temperature",
            "top_p",
            "max_tokens",
            "frequency_penalty",
            "timeout",
            model="model_id",
            base_url="service_endpoint",
        ),
        key=None,
        needs_url=True,
    ),
    "litellm": _Client(
        "litellm.chat",
        "ChatLiteLLM",
        _takes("temperature", "max_tokens", "api_key", base_url="api_base", retries="max_retries"),
        key=False,
    ),
    "browser-use": _Client(
        "browser_use.chat",
        "ChatBrowserUse",
        _takes("api_key", "base_url", "timeout", retries="max_retries"),
        counts_first=True,
    ),
}
"""The client of each provider that has models."""


def chat_model(
    profile: LLMProfile,
    *,
    settings: Settings | None = None,
    timeout: float | None = None,
    attempts: int | None = None,
) -> BaseChatModel:
    """The client that talks to a profile's model; nothing is sent yet.

    The first one of a provider takes a while: it is imported now.

    Args:
        profile: The profile.
        settings: Where timeout and attempts come from; the environment's by default.
        timeout: Seconds one request may take, in place of the setting.
        attempts: Times one request is tried, in place of the setting.

    Raises:
        ModelError: The provider's package is not installed, the profile lacks a key or an address,
            or has a parameter that the provider does not take.
    """
    settings = settings or Settings()
    if profile.provider not in CLIENTS:
        msg = f"The provider {profile.provider} takes whole tasks; it has no model to ask."
        raise ModelError(msg)
    client = CLIENTS[profile.provider]
    options = _options(profile, client)
    seconds = timeout or settings.model_timeout_seconds
    _put(
        options,
        client.takes.get("timeout"),
        int(seconds * 1000) if client.milliseconds else seconds,
    )
    wanted = attempts or settings.model_attempts
    tries = wanted if client.is_patient else 1
    _put(options, client.takes.get("retries"), tries if client.counts_first else tries - 1)
    module = library.load(f"browser_use.llm.{client.module}", settings)
    kind = getattr(module, client.name)
    _merge(options, _further(profile, kind))
    try:
        made: BaseChatModel = kind(**options)
    except (TypeError, ValueError) as error:
        msg = f"The profile cannot be used with {profile.provider}: {profile.hide(str(error))}"
        raise ModelError(msg) from None
    if not client.is_patient:
        make_patient(made, settings, timeout=seconds, attempts=wanted, blocks=client.blocks)
    return made


def _options(profile: LLMProfile, client: _Client) -> dict[str, Any]:
    options: dict[str, Any] = {}
    _put(options, client.takes.get("model", "model"), profile.model)
    if profile.api_key is not None:
        if client.key is None:
            msg = (
                f"The provider {profile.provider} takes no API key: leave it empty, and put what "
                "it needs into provider_config and provider_secrets."
            )
            raise ModelError(msg)
        _put(options, client.takes["api_key"], profile.api_key.get_secret_value())
    elif client.key and not _let_in_otherwise(profile):
        msg = f"The profile has no API key, and {profile.provider} needs one: add it to the block."
        raise ModelError(msg)
    elif client.key is False:
        _put(options, client.takes["api_key"], _NO_KEY)
    if profile.base_url is not None:
        _put(options, _place(client, profile, "base_url"), profile.base_url)
    elif client.needs_url:
        msg = f"The profile has no base URL, and {profile.provider} needs one: add it to the block."
        raise ModelError(msg)
    for name in _PARAMETERS:
        value = getattr(profile, name)
        if value is not None:
            _put(options, _place(client, profile, name), value)
    return options


def _let_in_otherwise(profile: LLMProfile) -> bool:
    """Whether a profile without a key has a token or an account of its provider instead."""
    return profile.provider_secrets is not None or bool(
        {"vertexai", "credentials"} & profile.provider_config.keys()
    )


def _place(client: _Client, profile: LLMProfile, name: str) -> str:
    if name not in client.takes:
        msg = f"The provider {profile.provider} takes no {name}: leave it empty in the block."
        raise ModelError(msg)
    return client.takes[name]


def _further(profile: LLMProfile, kind: type) -> dict[str, Any]:
    """What the profile adds for this very client."""
    secrets = profile.provider_secrets
    given = {**profile.provider_config, **(secrets.get_secret_value() if secrets else {})}
    known = {name for name in signature(kind).parameters if not name.startswith("_")}
    unknown = sorted(given.keys() - known)
    if unknown:
        msg = (
            f"The provider {profile.provider} knows no option {unknown[0]!r} of provider_config. "
            f"It knows: {', '.join(sorted(known - {'kwargs'}))}."
        )
        raise ModelError(msg)
    return given


def _put(options: dict[str, Any], place: str | None, value: object) -> None:
    """Set an option; where its place is unknown to the client, there is nothing to set."""
    if place is None:
        return
    outer, _, inner = place.partition(".")
    if inner:
        options.setdefault(outer, {})[inner] = value
    else:
        options[outer] = value


def _merge(options: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        here = options.get(name)
        options[name] = (
            {**here, **value} if isinstance(here, dict) and isinstance(value, dict) else value
        )
