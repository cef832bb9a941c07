"""The rows of `llm_profiles` follow the blocks, whoever edits them, and hold no key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.eventually import eventually
from tests.support.profiles import KEY, edit, profile
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import completes, ends, submit
from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.models.profiles import default_profile, document_name, find_profile
from vibesurf_blocks.tables import Database, ProfileStore

NAME = "Mein Modell / 模型 №1 " + "x" * 70
SECONDS = 20.0


@pytest.fixture
async def profiles(stack: LiveStack) -> AsyncIterator[ProfileStore]:
    database = Database(stack.settings.tables_url)
    yield ProfileStore(database)
    await database.aclose()


async def shown(api: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """The profile as the API shows it, empty where there is none."""
    answer = await api.get("/llm-profiles")
    assert KEY not in answer.text
    found = [one for one in answer.json() if one["profile_name"] == name]
    return found[0] if found else {}


async def becomes(api: httpx.AsyncClient, name: str, **fields: object) -> dict[str, Any]:
    """Wait until the profile has these values; all of it."""

    async def there() -> dict[str, Any]:
        row = await shown(api, name)
        return row if row and row.items() >= fields.items() else {}

    return await eventually(there, timeout=SECONDS)


async def gone(api: httpx.AsyncClient, name: str) -> None:
    async def away() -> bool:
        return not await shown(api, name)

    await eventually(away, timeout=SECONDS)


async def test_a_row_follows_its_block_from_the_first_save_to_its_deletion(
    api: httpx.AsyncClient, prefect: PrefectClient, profiles: ProfileStore
) -> None:
    config = {"default_headers": {"x-team": "blue"}}
    async with profile(
        prefect, NAME, temperature=0.5, provider_config=config, provider_secrets={"a": KEY}
    ) as block:
        row = await becomes(api, NAME, model="m-1")
        assert row["profile_id"] == str(block)
        assert row["temperature"] == 0.5
        assert row["provider_config"] == config
        assert (row["is_active"], row["is_default"]) == (True, False)
        assert "encrypted_api_key" not in row
        document = await prefect.read_block_document(block)
        stored = {one.profile_name: one for one in await profiles.all()}[NAME]
        assert stored.encrypted_api_key == f"prefect.blocks.llm-profile.{document.name}"

        await edit(prefect, block, model="m-2", description="Second", active=False)
        row = await becomes(api, NAME, model="m-2", description="Second", is_active=False)
        assert row["updated_at"] > row["created_at"]
        # What Prefect takes and no profile can be: shown as far as it goes, and not active.
        await edit(prefect, block, temperature="hot", active=True, base_url="http://me:hidden@x")
        await becomes(api, NAME, temperature=None, base_url=None, is_active=False, model="m-2")
        assert "hidden" not in str(await profiles.all())

        before = await profiles.all()
        await profiles.clear()
        await edit(prefect, block)  # any edit; without one the next look does it
        assert await becomes(api, NAME, model="m-2")
        after = await profiles.all()
        assert [one.profile_id for one in after] == [one.profile_id for one in before]
    await gone(api, NAME)


async def test_a_profile_saved_in_python_is_found_by_its_name(
    stack: LiveStack,
    prefect: PrefectClient,
    api: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Saving registers the type anew, with the logo where this process takes the API to be.
    monkeypatch.setenv("VIBESURF_API_URL", stack.api)
    made = LLMProfile(profile_name=NAME, provider="openai", model="m", api_key=KEY)
    await made.asave(document_name(NAME), client=prefect)
    try:
        found = await find_profile(prefect, NAME)
        assert found is not None
        assert found.profile.api_key is not None
        assert found.profile.api_key.get_secret_value() == KEY
        assert await find_profile(prefect, NAME + "y") is None
        await becomes(api, NAME, provider="openai", is_active=True)
        # The UI saves what it was shown, masks included.
        masked = await prefect.read_block_document(found.id, include_secrets=False)
        assert masked.data["api_key"] == "********"
        await edit(prefect, found.id, **{**masked.data, "model": "m-2"})
        found = await find_profile(prefect, NAME)
        assert found is not None
        assert found.profile.model == "m-2"
        assert found.profile.secrets == [KEY]
    finally:
        await LLMProfile.adelete(document_name(NAME), client=prefect)


async def test_a_profile_that_is_gone_when_its_run_begins_is_the_runs_error(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    """And one that is broken; both are told in one sentence."""
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    task = {"task_description": "Do it", "session_id": "gone", "llm_profile_name": "gone"}
    run = await prefect.create_flow_run_from_deployment(deployment.id, parameters=task)
    row = await ends(api, str(run.id))
    assert (row["status"], row["llm_profile_name"]) == ("failed", "gone")
    assert row["error_message"].startswith("LLM profile 'gone' does not exist. ")
    async with profile(prefect, "gone", api_key=f"{KEY}\n{KEY}"):
        run = await prefect.create_flow_run_from_deployment(deployment.id, parameters=task)
        row = await ends(api, str(run.id))
    assert row["error_message"].startswith("LLM profile 'gone' cannot be used: api_key: must be")


@pytest.mark.slow
async def test_a_task_without_a_profile_uses_the_default_one_and_its_row_says_so(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    task = {"task_description": f"Read {site.html('/a', 'a')}", "session_id": "default"}

    async def custom_run() -> UUID:
        run = await prefect.create_flow_run_from_deployment(
            deployment.id,
            # Once is enough: no model answers.
            parameters={**task, "max_steps": 1},
        )
        return run.id

    row = await completes(api, str(await custom_run()))
    assert row["llm_profile_name"] == "builtin"

    async with (
        profile(prefect, "default one", base_url="http://127.0.0.1:9/v1", default=True) as first,
        profile(prefect, "default two", base_url="http://127.0.0.1:9/v1", default=True),
    ):
        await becomes(api, "default two", is_default=True)
        await becomes(api, "default one", is_default=False)
        await edit(prefect, first, default=True)
        await becomes(api, "default one", is_default=True, last_used_at=None)
        await becomes(api, "default two", is_default=False)
        found = await default_profile(prefect)
        assert found is not None
        assert found.name == "default one"
        row = await ends(api, str(await custom_run()), timeout=60)
        assert row["llm_profile_name"] == "default one"

        async def used() -> bool:
            return bool((await shown(api, "default one")).get("last_used_at") == row["started_at"])

        await eventually(used, timeout=SECONDS)
    await gone(api, "default one")
    # A task that names a profile keeps to it: the reader needs no model.
    await completes(api, await submit(api, task["task_description"]))
