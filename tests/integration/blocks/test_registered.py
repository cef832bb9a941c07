"""The block types on a server: there after the first start, and by Prefect's own command."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import httpx
from prefect.client.orchestration import PrefectClient

from tests.support.stack import LiveStack
from vibesurf_blocks import blocks


async def test_the_first_start_registers_them_with_logos_that_need_no_net(
    stack: LiveStack, prefect: PrefectClient
) -> None:
    for name in blocks.__all__:
        slug = getattr(blocks, name).get_block_type_slug()
        kind = await prefect.read_block_type_by_slug(slug)
        assert kind.description
        assert kind.code_example
        assert name in kind.code_example
        assert str(kind.logo_url).startswith(stack.api)
        async with httpx.AsyncClient(trust_env=False) as client:
            logo = await client.get(str(kind.logo_url))
        assert logo.headers["content-type"] == "image/png"


async def test_prefects_command_registers_them(stack: LiveStack, prefect: PrefectClient) -> None:
    kind = await prefect.read_block_type_by_slug("composio-toolkits")
    await prefect.delete_block_type(kind.id)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "prefect", "block", "register", "-m", "vibesurf_blocks"],
        env=stack.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully registered 6 blocks" in done.stdout
    again = await prefect.read_block_type_by_slug("composio-toolkits")
    assert str(again.logo_url) == str(kind.logo_url)


async def test_there_is_no_other_logo(api: httpx.AsyncClient) -> None:
    for name in ("nothing", "..%2F..%2Fpy", "llm-profile.png"):
        assert (await api.get(f"/logos/{name}.png")).status_code == httpx.codes.NOT_FOUND
