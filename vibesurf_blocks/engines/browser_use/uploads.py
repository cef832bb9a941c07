"""The files that a person gives the agent."""

from __future__ import annotations

from pathlib import Path

from vibesurf_blocks.engines.protocol import EngineContext
from vibesurf_blocks.errors import EngineError, InvalidInput
from vibesurf_blocks.workspace import resolve_upload, uploads_dir

MOST = 200
"""Files that are offered to the agent at the most: it reads the list with every step."""


def upload_files(context: EngineContext) -> list[Path]:
    """The files at the task's upload path, or below it; links that lead out of it are left out.

    Raises:
        EngineError: The path itself leads out of the session's uploads, or names nothing.
    """
    given = context.task.upload_files_path
    if given is None:
        return []
    workspace, session = context.settings.workspace_dir, context.task.session_id
    try:
        root = resolve_upload(workspace, session, given)
    except InvalidInput as error:
        msg = f"upload_files_path {error.message}."
        raise EngineError(msg) from error
    if root.is_file():
        return [root]
    inside = uploads_dir(workspace, session).resolve()
    found = []
    for path in sorted(root.rglob("*")):
        # Resolved, so that what is uploaded is what was looked at.
        real = path.resolve()
        if real.is_file() and real.is_relative_to(inside):
            found.append(real)
        if len(found) >= MOST:
            break
    return found
