"""What the README and the docs say is so: links, commands, settings, routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer.main
from markdown_it import MarkdownIt

from examples.docs_site import ROOT, slug, sources
from scripts import settings_page
from vibesurf_blocks.api.app import create_app
from vibesurf_blocks.cli.main import app
from vibesurf_blocks.settings import Settings

PICTURE_BYTES = 300_000

pages = pytest.mark.parametrize("page", sources(), ids=lambda page: page.name)


def links(page: Path) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str):
                yield target


def anchors(page: Path) -> set[str]:
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    return {
        slug(tokens[number + 1].content)
        for number, token in enumerate(tokens)
        if token.type == "heading_open"
    }


def console_lines(page: Path) -> list[str]:
    """What a reader is told to type, with continued lines joined."""
    blocks = [
        token.content
        for token in MarkdownIt("commonmark").parse(page.read_text())
        if token.type == "fence" and token.info == "console"
    ]
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.exists(), f"{page.name} links to {link}"
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{page.name} links to {link}"


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert [one.name for one in pictures if one.stat().st_size >= PICTURE_BYTES] == []


def test_the_settings_are_those_of_the_code() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run `make docs`"
    assert settings_page.table() in settings_page.README.read_text(), "run `make docs`"


@pages
def test_variables_named_exist(page: Path) -> None:
    known = {settings_page.variable(name) for name in Settings.model_fields}
    for module in (ROOT / "tests").rglob("*.py"):
        known |= set(re.findall(r"VIBESURF_TEST_[A-Z_]+[A-Z]", module.read_text()))
    assert set(re.findall(r"VIBESURF_[A-Z_]+[A-Z]", page.read_text())) <= known


@pages
def test_commands_shown_exist(page: Path) -> None:
    command = typer.main.get_command(app)
    known = set(getattr(command, "commands", {}))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    assert set(re.findall(r"`(?:\S*/)?vibesurf-blocks ([a-z]+)", text)) <= known
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets
    for line in console_lines(page):
        words = line.split()
        match Path(words[0]).name:
            case "make":
                assert words[1] in targets, line
            case "vibesurf-blocks":
                assert words[1] in known, line
                called = command
                for word in words[1:]:
                    called = getattr(called, "commands", {}).get(word, called)
                assert not hasattr(called, "commands"), line
                # Quoted tasks hold no options.
                given = {word for word in words if word.startswith("--")}
                shown = {
                    option
                    for parameter in called.params
                    for option in (*parameter.opts, *parameter.secondary_opts)
                }
                assert given <= shown, line
            case "prefect" | "curl" | "python" | "python3" | "pip" | "export":
                pass
            case other:
                pytest.fail(f"{page.name} shows the unknown command {other}")


def test_routes_shown_exist() -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
    }
    text = (ROOT / "docs" / "rest-api.md").read_text()
    shown = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /\S*?)`", text))
    assert shown
    assert shown <= routes
    # The table names the control calls together; each must be told of.
    for route in routes:
        last = route.rsplit("/", 1)[1]
        assert route in shown or f"`{last}`" in text, f"{route} is not described"
