"""The task's files, as the backend finds them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx

from vibesurf_blocks.errors import EngineError, InvalidInput
from vibesurf_blocks.workspace import resolve_upload

if TYPE_CHECKING:
    from vibesurf_blocks.engines.protocol import EngineContext


def upload_path(context: EngineContext, base_url: str) -> str | None:
    """The path of the task's files on the backend's machine, None where it has none.

    Args:
        context: The task, and the workspace that its files are in.
        base_url: Where the backend answers.

    Raises:
        EngineError: They are not there, or the backend is on another machine.
    """
    task, settings = context.task, context.settings
    if task.upload_files_path is None:
        return None
    if not _is_loopback(base_url):
        msg = (
            "upload_files_path names files of this machine, and the VibeSurf backend at "
            f"{base_url} is another one. Put them into the session's uploads "
            "there, and name them in the task."
        )
        raise EngineError(msg)
    try:
        found = resolve_upload(settings.workspace_dir, task.session_id, task.upload_files_path)
    except InvalidInput as error:
        msg = f"upload_files_path {error.message}."
        raise EngineError(msg) from error
    return str(found)


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
