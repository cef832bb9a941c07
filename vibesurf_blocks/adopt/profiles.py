"""An LLM profile from one of VibeSurf's rows, as the data of a block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue, ValidationError

from vibesurf_blocks.adopt.report import Leave
from vibesurf_blocks.adopt.values import flag, json_value, text
from vibesurf_blocks.blocks.fields import first_problem
from vibesurf_blocks.blocks.llm_profile import LLMProfile, secret_names
from vibesurf_blocks.models.clients import CLIENTS
from vibesurf_blocks.tasks import BUILTIN_PROFILE, PROFILE_NAME_LIMIT

if TYPE_CHECKING:
    from vibesurf_blocks.adopt.keys import Keys
    from vibesurf_blocks.adopt.source import Row

_COMPATIBLE: Final = "openai-compatible"
_ADDRESSES: Final = {
    "qwen": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "kimi": "https://api.moonshot.cn/v1",
    "lm_studio": "http://localhost:1234/v1",
}
"""Providers of VibeSurf's that are compatible with OpenAI's, and where it asks them always."""

_OWN_ADDRESS: Final = {"openai", "azure_openai", "ollama", "openai_compatible"}
"""Providers of VibeSurf's whose `base_url` it heeds."""

_BEDROCK: Final = {"aws_bedrock", "anthropic_bedrock"}
_PARAMETERS: Final = ("temperature", "max_tokens", "top_p", "frequency_penalty", "seed")
_DESCRIPTION_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as it is to be here.

    Attributes:
        name: The name tasks use.
        data: The fields of its block, secrets among them.
        mended: What had to be changed, for a person.
        needs: What somebody has to set before it can be used; None for nothing.
    """

    name: str
    data: Mapping[str, Any]
    mended: tuple[str, ...]
    needs: str | None

    def is_like(self, other: Mapping[str, Any]) -> bool:
        """Whether a block's data are of the same model at the same place."""
        return all(
            (self.data.get(name) or None) == (other.get(name) or None)
            for name in ("provider", "model", "base_url")
        )


def profile_of(row: Row, keys: Keys) -> Profile:
    """The profile of one of VibeSurf's rows.

    Raises:
        Leave: It cannot be a profile here.
    """
    mended: list[str] = []
    name = _name(row)
    theirs = (text(row.get("provider")) or "").strip().lower()
    data: dict[str, Any] = {
        "profile_name": name,
        "provider": _COMPATIBLE if theirs in _ADDRESSES else theirs,
        "model": text(row.get("model")) or "",
        "active": flag(row.get("is_active"), default=True),
        "default": flag(row.get("is_default"), default=False),
    }
    try:
        provider = LLMProfile.model_validate(data).provider
    except ValidationError as error:
        msg = f"cannot be a profile here: {first_problem(error)}"
        raise Leave(msg) from None
    if provider not in CLIENTS:
        msg = f"has a provider of whole tasks, {provider}: make its block yourself"
        raise Leave(msg)
    data["provider"] = provider
    data |= _address(row, theirs, mended)
    data |= _parameters(row, provider, mended)
    data |= _config(row, theirs, mended)
    description = text(row.get("description"))
    if description is not None and len(description) > _DESCRIPTION_LIMIT:
        mended.append(f"its description has more than {_DESCRIPTION_LIMIT} characters: cut")
    data["description"] = description and description[:_DESCRIPTION_LIMIT]
    needs = _key(row, theirs, data, keys, mended)
    if needs is not None and data["active"]:
        data["active"] = False
    return Profile(name, _right(data, mended), tuple(mended), needs)


def _name(row: Row) -> str:
    name = text(row.get("profile_name"))
    if name is None or not name.strip():
        msg = "has no name"
        raise Leave(msg)
    if len(name) > PROFILE_NAME_LIMIT:
        msg = f"has a name of more than {PROFILE_NAME_LIMIT} characters: shorten it in VibeSurf"
        raise Leave(msg)
    if name == BUILTIN_PROFILE:
        msg = f"is called {BUILTIN_PROFILE!r}, as the built-in reader is: rename it in VibeSurf"
        raise Leave(msg)
    return name


def _address(row: Row, theirs: str, mended: list[str]) -> dict[str, Any]:
    given = text(row.get("base_url"))
    if theirs in _ADDRESSES:
        return {"base_url": _ADDRESSES[theirs]}
    if given is not None and theirs not in _OWN_ADDRESS:
        mended.append(f"has a base_url, which VibeSurf never used with {theirs}: left out")
        return {}
    return {"base_url": given}


def _parameters(row: Row, provider: str, mended: list[str]) -> dict[str, Any]:
    """The parameters that its client here takes: with any other it could not be used."""
    takes = next(client.takes for name, client in CLIENTS.items() if name == provider)
    found: dict[str, Any] = {}
    for name in _PARAMETERS:
        try:
            value = json_value(row.get(name))
        except (ValueError, RecursionError):
            mended.append(f"its {name} is no number: left out")
            continue
        if value is None:
            continue
        if name in takes:
            found[name] = value
        else:
            mended.append(f"has a {name}, which {provider} is not given here: left out")
    return found


def _config(row: Row, theirs: str, mended: list[str]) -> dict[str, Any]:
    """Its further options, those that are secret apart."""
    try:
        given = json_value(row.get("provider_config"))
    except (ValueError, RecursionError):
        given = False
    if given is None or given == {}:
        return {}
    if not isinstance(given, dict):
        mended.append("its provider_config is no JSON object: left out")
        return {}
    options: dict[str, JsonValue] = dict(given)
    if theirs == "anthropic_bedrock" and "region_name" in options:
        options["aws_region"] = options.pop("region_name")
    secret = {name for name in options if list(secret_names({name: options[name]}))}
    if secret:
        mended.append("its provider_config holds secrets: moved to provider_secrets")
    return {
        "provider_config": {name: one for name, one in options.items() if name not in secret},
        "provider_secrets": {name: options[name] for name in sorted(secret)} or None,
    }


def _key(row: Row, theirs: str, data: dict[str, Any], keys: Keys, mended: list[str]) -> str | None:
    """Put its key where it belongs; what somebody has to do where it cannot be had."""
    encrypted = text(row.get("encrypted_api_key"))
    place = "aws_access_key_id in provider_secrets" if theirs in _BEDROCK else "api_key"
    no_key = theirs in {"ollama", "lm_studio"}
    if encrypted is None or no_key:
        if encrypted is not None:
            mended.append(f"has an API key, which {theirs} does not use: left out")
        if no_key or theirs == "openai_compatible":
            return None
        return f"has no key in VibeSurf either: set {place} in its block, and switch it on"
    key = keys.open(encrypted)
    if key is None:
        return (
            f"its key cannot be decrypted with an id of this machine: set {place} in its block and "
            "switch it on, or delete the block and adopt again with --key-file"
        )
    if theirs in _BEDROCK:
        data["provider_secrets"] = {
            **(data.get("provider_secrets") or {}),
            "aws_access_key_id": key,
        }
        return None
    try:
        LLMProfile.model_validate({"provider": data["provider"], "model": "m", "api_key": key})
    except ValidationError:
        return f"its key holds what no key does: set {place} in its block, and switch it on"
    data["api_key"] = key
    return None


def _right(data: dict[str, Any], mended: list[str]) -> dict[str, Any]:
    """The data less the fields that cannot be; those that say where and what must be right."""
    for _ in data:
        try:
            LLMProfile.model_validate(data)
        except ValidationError as error:
            wrong = {str(one["loc"][0]) for one in error.errors(include_input=False) if one["loc"]}
            if wrong & {"provider", "model", "base_url", "profile_name"} or not wrong & data.keys():
                msg = f"cannot be a profile here: {first_problem(error)}"
                raise Leave(msg) from None
            mended += [f"its {name} cannot be: left out" for name in sorted(wrong)]
            data = {name: value for name, value in data.items() if name not in wrong}
        else:
            break
    return {name: value for name, value in data.items() if value is not None}
