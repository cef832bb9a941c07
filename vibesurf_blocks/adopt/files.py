"""Takes the reports of a VibeSurf workspace along, into the workspace here."""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from vibesurf_blocks.adopt.report import Leave
from vibesurf_blocks.workspace import prepare_session, reports_dir

_LIMIT: Final = 500
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,150}\.html")
_ENDINGS: Final = {".html", ".htm"}


class Reports:
    """Copies reports, each once, however many tasks name it."""

    def __init__(self, old: Path | None, workspace: Path, *, write: bool) -> None:
        """Take them from the workspace `old`, if there is one, into `workspace`.

        Args:
            old: VibeSurf's workspace; without one no report is taken.
            workspace: The workspace here.
            write: Whether to copy, as opposed to say where they would be.
        """
        self._old = old.resolve() if old is not None else None
        self._workspace = workspace
        self._write = write
        self._done: dict[tuple[Path, str], Path] = {}

    def take(self, report: str, recorded: str | None, session_id: str) -> str:
        """Take a report along.

        Args:
            report: Its path as VibeSurf's row has it.
            recorded: The workspace that VibeSurf had then: it may have been moved since.
            session_id: The session whose report it is, by its valid name.

        Returns:
            Its path here.

        Raises:
            Leave: It stays where it is.
        """
        if self._old is None:
            msg = "its report stays in VibeSurf's workspace: --workspace FOLDER takes it along"
            raise Leave(msg)
        found = self._find(report, recorded)
        if found is None:
            msg = f"its report is no HTML file in {self._old}: it stays where it is"
            raise Leave(msg)
        if (found, session_id) not in self._done:
            try:
                self._done[found, session_id] = self._place(found, session_id)
            except OSError as error:
                msg = f"its report cannot be copied: {error.strerror}"
                raise Leave(msg) from error
        return str(self._done[found, session_id])

    def _find(self, report: str, recorded: str | None) -> Path | None:
        """The file of that report in the old workspace, links resolved; None outside of it."""
        assert self._old is not None  # noqa: S101 - asked for by the caller
        named = Path(report)
        candidates = [self._old / named]
        if recorded is not None and named.is_relative_to(recorded):
            candidates.append(self._old / named.relative_to(recorded))
        for one in candidates:
            try:
                file = one.resolve()
                inside = file.is_relative_to(self._old) and file.suffix.lower() in _ENDINGS
                if inside and file.is_file():
                    return file
            except (OSError, RuntimeError, ValueError):
                continue
        return None

    def _place(self, file: Path, session_id: str) -> Path:
        folder = reports_dir(self._workspace, session_id)
        # A session's own folder may not be a link out of the workspace.
        if not folder.resolve().is_relative_to(self._workspace.resolve()):
            msg = f"its report stays where it is: {folder} leads out of the workspace"
            raise Leave(msg)
        digest = hashlib.sha256(str(file).encode()).hexdigest()[:12]
        name = file.name if _NAME.fullmatch(file.name) else f"report_{digest}.html"
        target = folder / name
        if target.exists() and not filecmp.cmp(file, target, shallow=False):
            target = folder / f"{target.stem}-{digest}.html"
        if len(str(target)) > _LIMIT:
            msg = f"its report stays where it is: its path here would be longer than {_LIMIT}"
            raise Leave(msg)
        if self._write and not target.exists():
            prepare_session(self._workspace, session_id)
            # Whoever is killed here leaves no half a report under its name.
            with NamedTemporaryFile(dir=folder, prefix=".", delete=False) as part:
                try:
                    with file.open("rb") as source:
                        shutil.copyfileobj(source, part)
                    part.close()
                    os.replace(part.name, target)  # noqa: PTH105 - from a name to a path
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
        return target
