"""Brings one alert to everybody it is for; who cannot be reached keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from prefect import get_run_logger, task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from vibesurf_blocks.blocks.webhook import VibeSurfWebhook
from vibesurf_blocks.errors import AlertError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vibesurf_blocks.alerts.message import Subject

_NOTIFY_SECONDS: Final = 60.0
_ATTEMPTS: Final = 3
_BACKOFF_SECONDS: Final = 2.0


async def deliver(subject: Subject, webhook: str | None, blocks: Sequence[str]) -> State[Any]:
    """Tell all; fails with what went wrong where somebody could not be told."""
    # The same for a run that is started again: a receiver can tell a repetition by it.
    message_id = f"msg_{flow_run.id}"
    waiting = []
    if webhook is not None:
        waiting.append(_post.with_options(name=f"webhook {webhook}")(webhook, message_id, subject))
    waiting += [_notify.with_options(name=one)(one, subject) for one in blocks]
    problems = [problem for problem in await asyncio.gather(*waiting) if problem]
    if problems:
        return Failed(message=" ".join(problems))
    return Completed(message=f"{subject.title}: told {len(waiting)}.")


@task(cache_policy=NO_CACHE, persist_result=False)
async def _post(name: str, message_id: str, subject: Subject) -> str | None:
    """Post to the webhook of a block; what went wrong, None where nothing did."""
    try:
        block = cast(VibeSurfWebhook, await VibeSurfWebhook.aload(name))
        tries = await block.send(message_id, subject.payload(message_id))
    except ValueError:
        return f"There is no VibeSurf Webhook block named {name!r}."
    except AlertError as error:
        return f"{name}: {error.message}"
    get_run_logger().info("Delivered to webhook %s at try %d.", name, tries)
    return None


@task(cache_policy=NO_CACHE, persist_result=False)
async def _notify(slug: str, subject: Subject) -> str | None:
    """Tell a notification block; what went wrong, None where nothing did."""
    try:
        block: object = await Block.aload(slug)
    except ValueError:
        return f"There is no block {slug!r}."
    if not isinstance(block, NotificationBlock):
        return f"The block {slug!r} is not for notifications."
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
        try:
            async with asyncio.timeout(_NOTIFY_SECONDS):
                with block.raise_on_failure():
                    await block.notify(subject.text, subject.title)
        except Exception as error:  # noqa: BLE001 - each kind of block has errors of its own
            # Only the kind: a message may hold an address that is a secret.
            problem = f"{slug} could not be told ({type(error).__name__})."
        else:
            return None
    return problem
