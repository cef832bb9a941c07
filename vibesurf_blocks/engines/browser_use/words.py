"""Says in words what an action of browser-use does, for timelines and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vibesurf_blocks.engines.reader.text import clean, short_url, shorten

NAME = 120
"""Characters of a step's name at the most."""

_TEXT = 60
_URL = 80


def said(kind: str, given: Mapping[str, Any], element: str | None = None) -> str:
    """What an action does, in a few words.

    Args:
        kind: Its name.
        given: Its parameters.
        element: The element it is about, in words; None where it is about none that is known.
    """
    tell = _TELL.get(kind)
    if tell is not None:
        return clean(tell(given, element), NAME)
    inside = ", ".join(f"{name}={shorten(str(value), 30)}" for name, value in given.items())
    return clean(f"{kind.replace('_', ' ')}({inside})" if inside else kind, NAME)


def element_words(
    tag: str, attributes: Mapping[str, str], accessible: str | None, text: str | None = None
) -> str:
    """An element of a page in words, such as `button 'Send'`."""
    name = accessible or text or ""
    for attribute in ("aria-label", "placeholder", "title", "name", "alt", "value", "id"):
        name = name or attributes.get(attribute, "")
    kind = _KINDS.get(tag.lower(), tag.lower())
    if tag.lower() == "input":
        kind = _INPUTS.get(attributes.get("type", "text").lower(), "field")
    return f"{kind} {_quoted(name)}" if name.strip() else kind


def step_name(acts: list[str], goal: str | None) -> str:
    """The heading of a step: what it did, else what it wanted."""
    if not acts:
        return clean(goal or "Nothing done", NAME)
    if len(acts) == 1:
        return acts[0]
    rest = f" (+{len(acts) - 1} more)"
    together = "; ".join(acts)
    return together if len(together) <= NAME else clean(acts[0], NAME - len(rest)) + rest


def _quoted(text: object) -> str:
    return f"'{shorten(' '.join(str(text).split()), _TEXT)}'"


def _where(element: str | None, given: Mapping[str, Any]) -> str:
    return element or f"element {given.get('index', '?')}"


def _upload(given: Mapping[str, Any], element: str | None) -> str:
    name = str(given.get("path", "")).rpartition("/")[2]
    return f"Upload {_quoted(name)} to {_where(element, given)}"


def _scroll(given: Mapping[str, Any], _: str | None) -> str:
    return f"Scroll {'down' if given.get('down', True) else 'up'}"


_TELL: Final[dict[str, Callable[[Mapping[str, Any], str | None], str]]] = {
    "navigate": lambda given, _: f"Open {short_url(str(given.get('url', '')), _URL)}",
    "search": lambda given, _: f"Search for {_quoted(given.get('query', ''))}",
    "go_back": lambda *_: "Go back",
    "wait": lambda given, _: f"Wait {given.get('seconds', 3)} s",
    "click": lambda given, element: f"Click {_where(element, given)}",
    "input": lambda given, element: (
        f"Type {_quoted(given.get('text', ''))} into {_where(element, given)}"
    ),
    "upload_file": _upload,
    "switch": lambda *_: "Switch to another tab",
    "close": lambda *_: "Close a tab",
    "extract": lambda given, _: f"Extract: {shorten(str(given.get('query', '')), _URL)}",
    "search_page": lambda given, _: f"Look on the page for {_quoted(given.get('pattern', ''))}",
    "find_elements": lambda given, _: f"Look for elements {_quoted(given.get('selector', ''))}",
    "scroll": _scroll,
    "send_keys": lambda given, _: f"Press {given.get('keys', '')}",
    "find_text": lambda given, _: f"Scroll to {_quoted(given.get('text', ''))}",
    "screenshot": lambda *_: "Take a picture",
    "save_as_pdf": lambda *_: "Save the page as PDF",
    "dropdown_options": lambda given, element: f"Look at the options of {_where(element, given)}",
    "select_dropdown": lambda given, element: (
        f"Choose {_quoted(given.get('text', ''))} in {_where(element, given)}"
    ),
    "write_file": lambda given, _: f"Write {given.get('file_name', 'a file')}",
    "replace_file": lambda given, _: f"Change {given.get('file_name', 'a file')}",
    "read_file": lambda given, _: (
        f"Read {_quoted(str(given.get('file_name', '')).rpartition('/')[2])}"
    ),
    "evaluate": lambda *_: "Run a script on the page",
    "done": lambda given, _: (
        f"{'Done' if given.get('success', True) else 'Given up'}: "
        f"{shorten(' '.join(str(given.get('text', '')).split()), 100)}"
    ),
}
_KINDS: Final = {"a": "link", "select": "list", "textarea": "text field", "img": "picture"}
_INPUTS: Final = {
    "submit": "button",
    "button": "button",
    "checkbox": "checkbox",
    "radio": "choice",
    "file": "file field",
    "password": "password field",
}
