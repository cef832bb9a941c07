"""A model for tests: an OpenAI-compatible server on loopback that answers from a script.

It speaks real HTTP, so that every client meets it as it meets a provider. Each request is answered
by the next line of the script; when the script is at its end, by `otherwise`. A request for
structured output is given JSON (`acts`, `done`), any other one a text. Requests are recorded.

    with running() as model:
        model.script(acts({"navigate": {"url": site.url("/form")}}), done("Read it."))
        …
        assert "Read the form" in model.requests[0].text
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

Json = dict[str, Any]

CHECK_ANSWER = "Paris."
"""What every question about a capital is answered with."""


@dataclass(frozen=True)
class Asked:
    """A request to the model.

    Attributes:
        body: Its JSON.
        headers: Its headers, with lower-case names.
    """

    body: Json
    headers: dict[str, str]

    @property
    def structured(self) -> bool:
        """Whether it asks for JSON of a schema."""
        return "response_format" in self.body or "tools" in self.body

    @property
    def text(self) -> str:
        """All its messages as text, images left out."""
        return "\n".join(
            part if isinstance(part, str) else str(part.get("text", ""))
            for message in self.body.get("messages", [])
            for part in _parts(message.get("content"))
        )

    @property
    def images(self) -> int:
        """How many images it carries."""
        return sum(
            isinstance(part, dict) and part.get("type") == "image_url"
            for message in self.body.get("messages", [])
            for part in _parts(message.get("content"))
        )


class Exchange(BaseHTTPRequestHandler):
    """One request to the server; answers are given through it."""

    server_version = "model"
    model: ModelServer
    asked: Asked

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(json.loads(raw), headers)
        if not self.path.endswith("/chat/completions"):
            self.send(404, json.dumps({"error": {"message": f"no route {self.path}"}}).encode())
            return
        try:
            self.model.next_answer(self.asked)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.model.hung_up.set()

    def do_GET(self) -> None:
        self.send(404, b'{"error": {"message": "only chat completions"}}')

    def say(self, content: str, finish: str = "stop") -> None:
        """Answer with a completion."""
        self.send(200, json.dumps(self.completion(content, finish)).encode())

    def completion(self, content: str, finish: str = "stop") -> Json:
        """The body of a completion."""
        usage = self.model.usage
        return {
            "id": f"chatcmpl-{next(self.model.numbers)}",
            "object": "chat.completion",
            "created": 1_760_000_000,
            "model": self.asked.body.get("model"),
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": content},
                }
            ],
            "usage": {
                "prompt_tokens": usage[0],
                "completion_tokens": usage[1],
                "total_tokens": sum(usage),
            },
        }

    def send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Answer with any bytes."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


Answer = Callable[[Exchange], None]


def says(content: str, finish: str = "stop") -> Answer:
    """Answers with a text."""
    return lambda exchange: exchange.say(content, finish)


def acts(*actions: Json, thinking: str = "I look at the page.", **more: Any) -> Answer:
    """Answers with actions of browser-use, in the form the request's schema asks for.

    Args:
        actions: Such as `{"click": {"index": 3}}`.
        thinking: Left out where the schema has no place for it, as in the other agent modes.
        more: Other fields in place of the usual ones, such as `memory`.
    """

    def answer(exchange: Exchange) -> None:
        fields = {
            "thinking": thinking,
            "evaluation_previous_goal": "As expected.",
            "memory": "Nothing to keep.",
            "next_goal": "Go on.",
            **more,
        }
        known = _schema_fields(exchange.asked.body)
        kept = {name: value for name, value in fields.items() if not known or name in known}
        exchange.say(json.dumps({**kept, "action": list(actions)}))

    return answer


def done(text: str, *, success: bool = True, **more: Any) -> Answer:
    """Answers that the task is done."""
    return acts({"done": {"text": text, "success": success, "files_to_display": []}}, **more)


def fails(status: int, message: str = "The model is out of order.", **error: object) -> Answer:
    """Answers with an error, as OpenAI's API words one."""
    body = json.dumps({"error": {"message": message, "type": "error", **error}}).encode()
    return lambda exchange: exchange.send(status, body)


def sends(body: bytes, content_type: str = "text/html", status: int = 200) -> Answer:
    """Answers with something else than a completion."""
    return lambda exchange: exchange.send(status, body, content_type)


def cut_off(content: str = "This is the beg") -> Answer:
    """Begins an answer and hangs up in the middle of it."""

    def answer(exchange: Exchange) -> None:
        body = json.dumps(exchange.completion(content)).encode()
        exchange.send_response(200)
        exchange.send_header("Content-Type", "application/json")
        exchange.send_header("Content-Length", str(len(body)))
        exchange.end_headers()
        exchange.wfile.write(body[: len(body) // 2])
        exchange.wfile.flush()
        exchange.close_connection = True
        exchange.connection.close()

    return answer


@dataclass
class Held:
    """An answer that waits until it is let go.

    Attributes:
        asked: Set once the request is there.
        released: To be set when it is to be answered.
    """

    then: Answer
    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, exchange: Exchange) -> None:
        """Wait, then answer; without an answer when the server closes."""
        self.asked.set()
        while not self.released.wait(0.02):
            if exchange.model.closing.is_set():
                return
        self.then(exchange)


def held(then: Answer) -> Held:
    """Answers once the test says so, which may be never."""
    return Held(then)


def plain(exchange: Exchange) -> None:
    """Answers what no script foresaw: a question about a capital, or a step without an end."""
    if exchange.asked.structured:
        acts({"wait": {"seconds": 0}})(exchange)
    else:
        exchange.say(CHECK_ANSWER if "capital" in exchange.asked.text else "Well.")


class ModelServer:
    """The server; see the module.

    Attributes:
        requests: Every request, in order.
        otherwise: Answers when the script is at its end.
        checks: Whether questions of the submit check are answered apart from the script.
        usage: Prompt and completion tokens of each answer.
        hung_up: Set when a client hung up before its answer.
    """

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self.otherwise: Answer = plain
        self.checks = True
        self.usage = (100, 20)
        self.hung_up = threading.Event()
        self.closing = threading.Event()
        self.numbers = count(1)
        self._script: list[Answer] = []
        self._lock = threading.Lock()
        handler = type("ModelExchange", (Exchange,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL for a profile."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def asked(self) -> list[Asked]:
        """The requests of agents, those of the submit check left out."""
        return [one for one in self.requests if one.structured]

    def script(self, *answers: Answer) -> None:
        """Put answers at the end of the script."""
        with self._lock:
            self._script += answers

    def clear(self) -> None:
        """Forget script and requests, and answer as at the beginning."""
        with self._lock:
            self._script.clear()
            self.requests.clear()
            self.otherwise = plain

    def next_answer(self, asked: Asked) -> Answer:
        """Record a request; what it is to be answered with."""
        with self._lock:
            self.requests.append(asked)
            if self.checks and not asked.structured and self._script:
                return plain
            return self._script.pop(0) if self._script else self.otherwise

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def running() -> Iterator[ModelServer]:
    """A model server while the block runs."""
    with ModelServer() as server:
        yield server


def _parts(content: object) -> Sequence[Any]:
    return content if isinstance(content, list) else [content or ""]


def _schema_fields(body: Json) -> set[str]:
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return set(schema.get("properties", {}))
