"""Where a run's report lies."""

from __future__ import annotations

from pathlib import Path


def report_name(task_id: str) -> str:
    """The name of a task's report within its session's `reports/`."""
    return f"report_{task_id}.html"


def write_report(session_dir: Path, task_id: str, html: str) -> Path:
    """Write the report of a task into its session's `reports/` and return its path.

    Raises:
        OSError: It cannot be written.
    """
    path = session_dir / "reports" / report_name(task_id)
    path.write_text(html, encoding="utf-8")
    return path
