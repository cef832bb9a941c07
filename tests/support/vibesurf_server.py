"""A VibeSurf backend for tests: its documented task API over HTTP, its agent moved by the test.

A program of the standard library alone, run as `python vibesurf_server.py PORT STATE`, so that it
can be killed like the real one. What it knows lies in the file STATE; started again with it, it
goes on, and with another it knows nothing, as after a start of the real one. `POST /_test` sets
parts of it, `GET /_test` reads it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = b"<!doctype html><title>VibeSurf</title><div id=root></div>"
BUSY = "Cannot submit task: another task is currently running"
NO = {
    "pause": "No active task to pause",
    "resume": "No paused task to resume",
    "stop": "No active task to stop",
    "add-new-task": "No active task to add new instruction to",
}


class Server:
    """What the backend knows and how it behaves.

    `html`: answers everything with its page. `heeds_keys`: honours an `Idempotency-Key`.
    `drops`: how many more submits are done and never answered. `holds`: leaves submits waiting.
    `shows_ended`: shows the fields of the task that ended last. `refuses`: operations answered with
    a 500. `loses`: how many more submits come to nothing. `declines`: what a submit is declined
    with. `api_key`: asked for.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.state: dict[str, Any] = {
            "task": None,
            "keys": {},
            "asked": [],
            "tasks": 0,
            "looks": 0,
            "loses": 0,
            "html": False,
            "heeds_keys": False,
            "shows_ended": True,
            "drops": 0,
            "holds": False,
            "refuses": [],
            "api_key": None,
            "declines": None,
        }
        if file.exists():
            self.state.update(json.loads(file.read_text()))

    def save(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.state))
        fresh.replace(self.file)

    @property
    def active(self) -> dict[str, Any] | None:
        task = self.state["task"]
        ended = task is None or task["status"] in {"completed", "failed", "stopped"}
        return None if ended else task

    def submit(self, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        if self.state["heeds_keys"] and key in self.state["keys"]:
            return dict(self.state["keys"][key])
        if self.active is not None:
            shown = {name: self.active[name] for name in ("task_id", "status", "session_id")}
            return {"success": False, "message": BUSY, "active_task": shown}
        if self.state["declines"]:
            return {"success": False, **self.state["declines"]}
        task_id = str(uuid.uuid4())
        self.state["tasks"] += 1
        self.state["task"] = {
            "task_id": task_id,
            "status": "running",
            "session_id": body["session_id"],
            "task": body["task_description"],
            "start_time": "2026-11-21T10:00:00+00:00",
            "end_time": None,
            "result": None,
            "error": None,
            "pause_reason": None,
            "stop_reason": None,
            "report_path": None,
            "vibesurf_status": {
                "overall_status": "running",
                "active_step": None,
                "agent_statuses": {},
                "progress": 0,
                "last_update": None,
            },
        }
        answer = {
            "success": True,
            "task_id": task_id,
            "session_id": body["session_id"],
            "status": "submitted",
            "message": "Task submitted successfully",
            "llm_profile": body["llm_profile_name"],
            "workspace_dir": "/elsewhere",
        }
        self.state["keys"][key or ""] = answer
        return answer

    def command(self, operation: str, reason: str | None) -> dict[str, Any] | None:
        task = self.active
        if task is None or (operation == "resume" and task["status"] != "paused"):
            return None
        if operation == "pause":
            task.update(status="paused", pause_reason=reason)
        elif operation == "resume":
            task.update(status="running")
        elif operation == "stop":
            # As the real one: a stopped task is recorded as completed.
            task.update(status="completed", stop_reason=reason, result="What it had so far.")
        done = {"success": True, "message": "done", "operation": operation.replace("-", "_")}
        return done | ({"new_task": reason} if operation == "add-new-task" else {})

    def shown(self) -> dict[str, Any]:
        if self.active is not None:
            return {"has_active_task": True, **self.active}
        last = (self.state["task"] or {}) if self.state["shows_ended"] else {}
        return {**last, "has_active_task": False, "message": "No active task"}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server_state: Server

    def do_GET(self) -> None:
        server = self.server_state
        with server.lock:
            if self.path == "/_test":
                self.answer(200, server.state)
                return
            if self.closed_to_us():
                return
            if self.path == "/api/tasks/detailed-status":
                server.state["looks"] += 1
                self.answer(200, server.shown())
            else:
                self.page()

    def do_POST(self) -> None:
        server = self.server_state
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with server.lock:
            if self.path == "/_test":
                task = body.pop("task", None)
                if task is not None and server.state["task"] is not None:
                    moves = task.pop("vibesurf_status", {})
                    server.state["task"].update(task)
                    server.state["task"]["vibesurf_status"].update(moves)
                server.state.update(body)
                server.save()
                self.answer(200, {})
                return
            operation = self.path.rpartition("/")[2]
            server.state["asked"].append([operation, body])
            server.save()
        while operation == "submit" and server.state["holds"]:
            time.sleep(0.02)
        with server.lock:
            if self.closed_to_us():
                return
            if operation == "submit" and server.state["loses"] > 0:
                server.state["loses"] -= 1
                self.close_connection = True
            elif operation == "submit":
                said = server.submit(body, self.headers.get("Idempotency-Key"))
                server.save()
                if server.state["drops"] > 0:
                    server.state["drops"] -= 1
                    server.save()
                    self.close_connection = True
                    return
                self.answer(200, said)
            elif operation in server.state["refuses"]:
                self.answer(500, {"detail": "out of order"})
            else:
                done = server.command(operation, body.get("reason"))
                server.save()
                self.answer(200 if done else 400, done or {"detail": NO[operation]})

    def closed_to_us(self) -> bool:
        """Whether the request was answered with the page, or refused."""
        state = self.server_state.state
        if state["html"]:
            self.page()
            return True
        if state["api_key"] not in {None, self.headers.get("x-api-key")}:
            self.answer(401, {"detail": f"no: {self.headers.get('x-api-key')}"})
            return True
        return False

    def page(self) -> None:
        """What a web server of a single-page application answers whatever it does not know."""
        self.send(200, PAGE, "text/html")

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, json.dumps(body).encode(), "application/json")

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main(port: int, file: Path) -> None:
    """Serve until killed."""
    handler = type("Answering", (Handler,), {"server_state": Server(file)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
