"""Which deployment and which of its schedules a `flow_id` names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vibesurf_blocks.errors import Conflict, NotFound
from vibesurf_blocks.prefect_api import deployments as prefect_deployments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.schemas.objects import DeploymentSchedule

    from vibesurf_blocks.api.context import Context
    from vibesurf_blocks.prefect_api.deployments import Found


async def locate(
    context: Context, flow_id: str, *, change: bool
) -> tuple[Found, DeploymentSchedule]:
    """The schedule that a `flow_id` names, as rows spell it or in any other way.

    Args:
        context: The parts to work with.
        flow_id: The name.
        change: Whether it is to be changed, and so has to be named without doubt.

    Raises:
        NotFound: It names none.
        Conflict: It is ambiguous, or names several that may be meant.
    """
    if "\x00" in flow_id:
        raise no_schedule(flow_id)
    suffix = None
    candidates = await prefect_deployments.find(context.client, flow_id)
    if not candidates and "#" in flow_id:
        base, _, suffix = flow_id.rpartition("#")
        candidates = await prefect_deployments.find(context.client, base)
    scheduled = [one for one in candidates if one.deployment.schedules]
    own = [
        one
        for one in scheduled
        if (made := prefect_deployments.rest_schedule(one.deployment)) is not None
        and made.slug == one.spelling
    ]
    found = only(own or scheduled, flow_id)
    if found is None:
        raise no_schedule(flow_id)
    ordered = prefect_deployments.in_order(found.deployment)
    if suffix is not None:
        named = [one for one in ordered if suffix in {one.slug, str(one.id)}]
        if not named:
            raise no_schedule(flow_id)
        return found, named[0]
    made = prefect_deployments.rest_schedule(found.deployment)
    if change and made is None and len(ordered) > 1:
        names = ", ".join(f"{found.path}#{one.slug or one.id}" for one in ordered)
        msg = f"The deployment {found.path} has several schedules; name one of them: {names}"
        raise Conflict(msg)
    return found, made or ordered[0]


async def read_again(context: Context, found: Found, flow_id: str) -> Found:
    """What was found before, as it is now.

    Raises:
        NotFound: It is gone, or has no schedule any more.
    """
    now = await prefect_deployments.read(context.client, [found.deployment.id])
    if not now or not now[0].schedules:
        raise no_schedule(flow_id)
    return replace(found, deployment=now[0])


def only(found: Sequence[Found], flow_id: str) -> Found | None:
    """The one deployment that was found by a name, None where none was.

    Raises:
        Conflict: Several were.
    """
    if len(found) > 1:
        names = ", ".join(sorted(one.path for one in found))
        msg = f"The name {flow_id} is ambiguous; use one of: {names}"
        raise Conflict(msg)
    return found[0] if found else None


def no_schedule(flow_id: str) -> NotFound:
    """The error of a name that names no schedule."""
    return NotFound(f"Schedule not found for flow {flow_id}")
