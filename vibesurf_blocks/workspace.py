"""Paths of the workspace, none of which a client's word can lead out of."""

from __future__ import annotations

from pathlib import Path

from vibesurf_blocks.errors import InvalidInput


def session_dir(workspace: Path, session_id: str) -> Path:
    """The folder of a session, whose id has been validated."""
    return workspace / session_id


def reports_dir(workspace: Path, session_id: str) -> Path:
    """Where a session's reports lie."""
    return session_dir(workspace, session_id) / "reports"


def uploads_dir(workspace: Path, session_id: str) -> Path:
    """Where a session's uploaded files lie."""
    return session_dir(workspace, session_id) / "uploads"


def checkpoints_dir(workspace: Path) -> Path:
    """Where runs keep what they need to go on; no session has such a name."""
    return workspace / ".checkpoints"


def starting_dirs(workspace: Path) -> Path:
    """Where the folders lie that runs start in; no session has such a name."""
    return workspace / ".starting"


def files_folder(workspace: Path, task_id: str) -> Path:
    """Where an engine keeps files of one run until the run has ended."""
    return checkpoints_dir(workspace) / task_id


def prepare_session(workspace: Path, session_id: str) -> Path:
    """Make a session's folders where they are missing, and return the session's own."""
    for folder in (reports_dir(workspace, session_id), uploads_dir(workspace, session_id)):
        folder.mkdir(parents=True, exist_ok=True)
    return session_dir(workspace, session_id)


def resolve_upload(workspace: Path, session_id: str, upload_files_path: str) -> Path:
    """The upload path of a task, with links resolved.

    Raises:
        InvalidInput: It does not lie inside the session's `uploads` folder or does not exist.
    """
    uploads = uploads_dir(workspace, session_id)
    try:
        # A session's own folder may not be a link out of the workspace either.
        root = workspace.resolve() / session_id / "uploads"
        path = (uploads / upload_files_path).resolve()
        inside = path.is_relative_to(root)
        exists = path.exists() or path == root
    except (OSError, RuntimeError) as error:
        msg = f"cannot be resolved ({error.__class__.__name__})"
        raise InvalidInput(msg) from error
    if not inside:
        msg = f"must lie inside the session's uploads folder {uploads}"
        raise InvalidInput(msg)
    if not exists:
        msg = f"names nothing inside the session's uploads folder {uploads}"
        raise InvalidInput(msg)
    return path
