"""Check: the LLM profiles can be used; with `--deep`, their models answer."""

from __future__ import annotations

import asyncio

from vibesurf_blocks.api.model_check import ModelCheck
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Finding, Told, error, note, told, warning
from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models.profiles import by_name, default_of, find_profile
from vibesurf_blocks.prefect_api import block_documents
from vibesurf_blocks.tasks import BUILTIN_PROFILE, LLM_PROFILE_TYPE

_AT_ONCE = 4


async def profiles(case: Case) -> Told:
    """Look at all profiles."""
    documents = by_name(await block_documents.of_type(case.client, LLM_PROFILE_TYPE))
    if not documents:
        return told(f"none: tasks have {BUILTIN_PROFILE!r} alone, the reader without a model")
    default = default_of(documents)
    off = [
        name
        for name, one in documents.items()
        if one.data.get("default") is True and one.data.get("active", True) is not True
    ]
    found: list[Finding] = [_inactive(name, default) for name in off]
    limit = asyncio.Semaphore(_AT_ONCE)
    check = ModelCheck(case.client, case.settings)

    async def look(name: str) -> Finding | None:
        try:
            profile = await find_profile(case.client, name)
        except ModelError as failure:
            return error(failure.message, _edit(name), name)
        if profile is None or not profile.profile.active or not case.deep:
            return None
        async with limit:
            problem = (await check(name)).problem
        if problem is None:
            return None
        what = f"{problem} Tasks that name it are refused: llm_connection_failed."
        return error(what, f"{_edit(name)} Then: `vibesurf-blocks doctor --deep`", name)

    looked = await asyncio.gather(*(look(name) for name in documents))
    found += [one for one in looked if one is not None]
    asked = "their models were asked" if case.deep else "--deep asks their models"
    said = f"default {default!r}" if default else f"no default, so {BUILTIN_PROFILE!r} counts"
    return told(f"{len(documents)}, {said}; {asked}", *found)


def _inactive(name: str, default: str | None) -> Finding:
    instead = f"{default!r} counts" if default else f"{BUILTIN_PROFILE!r}, the reader, counts"
    what = f"LLM profile {name!r} is marked as the default and is not active: {instead} instead."
    make = note if default else warning
    return make(what, _edit(name), name)


def _edit(name: str) -> str:
    return f"Edit its block in the Prefect UI: Blocks, LLM Profile, {name!r}."
