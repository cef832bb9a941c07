"""The headings of steps say what was done, in words and within their length."""

from __future__ import annotations

import pytest

from vibesurf_blocks.engines.browser_use.words import NAME, element_words, said, step_name


@pytest.mark.parametrize(
    ("tag", "attributes", "accessible", "words"),
    [
        ("BUTTON", {}, "Send", "button 'Send'"),
        ("a", {"title": "Onward"}, None, "link 'Onward'"),
        ("input", {"type": "password", "name": "pw"}, None, "password field 'pw'"),
        ("input", {"type": "submit", "value": "Go"}, None, "button 'Go'"),
        ("input", {}, "Name", "field 'Name'"),
        ("select", {}, None, "list"),
    ],
)
def test_an_element_is_named_as_a_person_sees_it(
    tag: str, attributes: dict[str, str], accessible: str | None, words: str
) -> None:
    assert element_words(tag, attributes, accessible) == words


@pytest.mark.parametrize(
    ("kind", "given", "element", "words"),
    [
        ("navigate", {"url": "http://a.org/x"}, None, "Open http://a.org/x"),
        ("navigate", {"url": "http://me:pw@a.org/"}, None, "Open http://a.org/"),
        ("click", {"index": 7}, "button 'Send'", "Click button 'Send'"),
        ("click", {"index": 7}, None, "Click element 7"),
        ("input", {"index": 1, "text": "Ada"}, "field 'Name'", "Type 'Ada' into field 'Name'"),
        ("done", {"success": False, "text": "No such\nitem."}, None, "Given up: No such item."),
        ("shop_stock", {"item": "bolts"}, None, "shop stock(item=bolts)"),
        ("upload_file", {"path": "/w/uploads/a.txt", "index": 3}, "file field", None),
    ],
)
def test_an_action_says_what_it_does(
    kind: str, given: dict[str, object], element: str | None, words: str | None
) -> None:
    assert said(kind, given, element) == (words or "Upload 'a.txt' to file field")


def test_a_step_of_many_actions_fits() -> None:
    assert step_name([], "Look around") == "Look around"
    assert step_name(["Click link 'A'", "Go back"], None) == "Click link 'A'; Go back"
    long = step_name([said("click", {"index": n}, "link '" + "x" * 60 + "'") for n in range(4)], "")
    assert len(long) <= NAME
    assert long.endswith("(+3 more)")
