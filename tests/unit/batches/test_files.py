"""Files of items: three kinds say the same, and a broken one says where it is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vibesurf_blocks.batches.files import items_of_batch, read_items
from vibesurf_blocks.batches.order import ITEM_LIMIT, Batch
from vibesurf_blocks.errors import InvalidInput

JSON = (
    '{"items": ["Read http://a.example/", {"id": "β", "task_description": "Lies", "max_steps": 3}]}'
)
YAML = "- Read http://a.example/\n- {id: β, task_description: Lies, max_steps: 3}\n"
CSV = "\ufefftask_description,id,max_steps\nRead http://a.example/,,\nLies,β,3\n"


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", JSON), ("a.YAML", YAML), ("a.yml", YAML), ("a.csv", CSV)]
)
def test_each_kind_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    first, second = read_items(file)
    assert (first.task_description, first.id) == ("Read http://a.example/", None)
    assert (second.task_description, second.id, second.max_steps) == ("Lies", "β", 3)


BROKEN = {
    "yaml": ("a.yaml", b"- one\n- a: b: c\n", "a.yaml is not YAML in line 2, column 7: mapping"),
    "tab in yaml": ("a.yaml", b"a:\n\t- b", "in line 2, column 1"),
    "yaml object": ("a.yaml", b"- !!python/object:os.system {}", "in line 1, column 3"),
    "json": ("a.json", b'[\n  "a",\n  }', "a.json is not JSON in line 3, column 3"),
    "deep json": ("a.json", b"[" * 100_000, "a.json is not JSON"),
    "csv column": ("a.csv", b"task_description,url\na,b", "there is no column 'url'"),
    "csv without names": ("a.csv", b"Read this\n", "its first line must name the columns"),
    "csv field": ("a.csv", b"task_description\na,b", "line 2 has more fields"),
    "csv quote": ("a.csv", b'task_description\n"a', "is not CSV after line 1"),
    "not utf-8": ("a.yaml", b"- \xff", "is not UTF-8: byte 2"),
    "other kind": ("a.txt", b"x", "use .json, .csv, .yaml or .yml"),
    "no list": ("a.json", b'{"tasks": []}', "must hold a list of tasks"),
    "no item": ("a.json", b"[]", "there is no item"),
    "a number": ("a.json", b'["a", 7]', "item 2: Input should be"),
    "blank": ("a.json", b'[{"task_description": " "}]', "item 1, task_description: must say"),
    "same id": ("a.json", b'[{"task_description": "a", "id": "2"}, "b"]', "'2' stands for"),
}


@pytest.mark.parametrize(("name", "content", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_says_what_and_where(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_items(file)
    assert words in caught.value.message


def test_ten_thousand_items_are_taken_and_one_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(["x"] * ITEM_LIMIT))
    assert len(read_items(file)) == ITEM_LIMIT
    file.write_text(json.dumps(["x"] * (ITEM_LIMIT + 1)))
    with pytest.raises(InvalidInput, match="10,001 items"):
        read_items(file)


def test_a_file_outside_the_uploads_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "s" / "uploads").mkdir(parents=True)
    (tmp_path / "secret.json").write_text('["x"]')
    (tmp_path / "s" / "uploads" / "link.json").symlink_to(tmp_path / "secret.json")
    for name in ("../../secret.json", "link.json", str(tmp_path / "secret.json")):
        batch = Batch(session_id="s", items_file=name)
        with pytest.raises(InvalidInput, match="items_file must lie inside"):
            items_of_batch(batch, tmp_path)
