"""The reader on a real site: what it reads, what it survives, and what it never shows."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.site import Site, Visit
from tests.unit.engines.reading import context, finish, interrupted, read
from vibesurf_blocks.engines.protocol import Engine
from vibesurf_blocks.engines.reader import ReaderEngine
from vibesurf_blocks.engines.reader.limits import FOLLOW_DEFAULT, PAGES_CAP
from vibesurf_blocks.errors import EngineError

PROSE = (
    "<p>The harbour station has measured wind and water every ten minutes since 1987. "
    "Its data are free to use. Skippers rely on it in every season of the year.</p>"
)


def linked(site: Site, paths: list[str]) -> str:
    """A start page that links to pages that say their own name."""
    for path in paths:
        site.html(path, f"<h1>This is {path}</h1>{PROSE}", title=f"Page {path}")
    links = "".join(f'<a href="{path}">to {path}</a> ' for path in paths)
    return site.html("/", f"<h1>Start</h1>{PROSE}{links}", title="Start")


async def test_reads_a_page_into_a_digest_worth_reading(site: Site) -> None:
    url = site.html(
        "/a",
        f"<h1>Harbour</h1>{PROSE}<h2>Readings</h2>"
        "<table><caption>Today</caption><tr><th>Time</th><th>Wind</th></tr>"
        "<tr><td>06:00</td><td>12 | 14</td></tr></table>"
        '<p><a href="/archive">The archive</a></p>',
        title="Harbour weather",
    )
    outcome, steps, _ = await read(f"Read {url}.")
    assert outcome.error is None
    assert [step.name for step in steps] == [f"Read {url}: 'Harbour weather', 1 link"]
    assert (steps[0].progress, steps[0].done, steps[0].ok) == (1.0, True, True)
    result = outcome.result
    assert f"## [Harbour weather]({url})" in result
    assert "The harbour station has measured wind and water every ten minutes" in result
    assert "- Harbour\n  - Readings" in result
    assert "**Table: Today**" in result
    assert "| Time | Wind |\n| --- | --- |\n| 06:00 | 12 \\| 14 |" in result
    assert f"- [The archive]({site.url('/archive')})" in result
    assert site.hits == {"/a": 1}


def test_satisfies_the_protocol() -> None:
    engine: Engine = ReaderEngine(context("Read http://a.example/"))
    assert engine.checkpoint()["pages"] == []


@pytest.mark.parametrize("task", ["Read the news", "Read ftp://a.example", "Read http://[bad/"])
async def test_a_task_without_an_address_says_what_to_write(task: str) -> None:
    with pytest.raises(EngineError, match=r"Read https://example\.org/ and follow links"):
        await ReaderEngine(context(task)).open()


async def test_follows_links_breadth_first_and_no_further_than_asked(site: Site) -> None:
    start = linked(site, ["/a", "/b", "/c"])
    site.html("/a", f'{PROSE}<a href="/a/deep">deep</a>', title="A")
    site.html("/a/deep", PROSE, title="Deep")
    _, steps, _ = await read(f"Read {start} up to 4 pages")
    paths = [re.findall(r"Read http://[^/]+(\S*):", step.name)[0] for step in steps]
    assert paths == ["/", "/a", "/b", "/c"]
    assert sum(site.hits.values()) == 4


async def test_reads_only_what_is_named_unless_asked(site: Site) -> None:
    start = linked(site, ["/a", "/b"])
    _, steps, _ = await read(f"Read {start}")
    assert len(steps) == 1


async def test_follows_a_stated_number_of_links_by_default(site: Site) -> None:
    start = linked(site, [f"/{n}" for n in range(FOLLOW_DEFAULT + 5)])
    _, steps, _ = await read(f"Read {start} and follow links")
    assert len(steps) == FOLLOW_DEFAULT


async def test_never_takes_more_steps_than_the_operator_allows(site: Site) -> None:
    start = linked(site, [f"/{n}" for n in range(9)])
    outcome, steps, _ = await read(f"Read {start}, up to 500 pages", max_steps=3)
    assert len(steps) == 3
    assert "500 pages were asked for; one task reads 3 at the most." in outcome.result


async def test_urls_beyond_the_limit_are_listed_as_left_out(site: Site) -> None:
    start = linked(site, ["/a", "/b"])
    task = f"Read at most 2 pages: {start} {site.url('/a')} {site.url('/b')}"
    outcome, steps, _ = await read(task)
    assert len(steps) == 2
    assert f"{site.url('/b')}) was left out: the limit of 2 pages was reached" in outcome.result
    assert "/b" not in site.hits


async def test_stays_on_the_site_and_skips_what_is_no_page(site: Site) -> None:
    with Site() as other:
        elsewhere = other.html("/x", PROSE)
        for path in ["/logo.png", "/paper.pdf", "/data.zip"]:
            site.html(path, PROSE)
        site.redirect("/leaves", elsewhere)
        start = site.html(
            "/",
            f'{PROSE}<a href="{elsewhere}">x</a><a href="/logo.png">l</a><a href="/paper.pdf">p</a>'
            '<a href="/data.zip">d</a><a href="mailto:a@b">m</a><a href="javascript:x()">j</a>'
            '<a href="/leaves">out</a><a href="/">self</a><a href="/#top">top</a>',
        )
        _, steps, _ = await read(f"Read {start} up to 20 pages")
        assert dict(site.hits) == {"/": 1, "/leaves": 1}
        assert not other.hits
    assert "leads to another site" in steps[1].name
    assert steps[1].ok


async def test_one_page_under_many_addresses_is_read_once(site: Site) -> None:
    site.html("/b", PROSE, title="B")
    site.redirect("/old", "/b")
    start = site.html(
        "/",
        f'{PROSE}<a href="/b#one">1</a><a href="./b">2</a><a href="/x/../b">3</a>'
        '<a href="/old">4</a>',
    )
    _, steps, _ = await read(f"Read {start} up to 20 pages")
    assert site.hits["/b"] == 1
    assert [step.name.split()[0] for step in steps] == ["Read", "Read", "Skipped"]


@pytest.mark.parametrize("after", range(8))
async def test_an_interrupted_run_ends_like_an_undisturbed_one(site: Site, after: int) -> None:
    start = linked(site, ["/a", "/gone", "/b", "/c"])
    site.html("/late", PROSE, title="Late")
    site.serve("/gone", b"", status=404)
    site.redirect("/again", "/a")
    site.html("/b", f'{PROSE}<a href="/again">a</a><a href="/d">d</a>')
    site.html(
        "/d", "<h1>D</h1><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
    )
    task = f"Read {start} up to 7 pages"
    whole, whole_steps, _ = await read(task)
    undisturbed = dict(site.hits)
    site.hits.clear()
    parted, parted_steps = await interrupted(task, after)
    assert parted == whole
    assert parted_steps == whole_steps
    assert dict(site.hits) == undisturbed
    assert set(undisturbed.values()) == {1}
    assert len(whole_steps) == 7


async def test_an_instruction_survives_an_interruption(site: Site) -> None:
    start = linked(site, ["/a", "/b", "/c", "/d"])
    extra = site.html("/extra", PROSE, title="Extra")
    outcome, steps = await interrupted(f"Read {start}, 3 pages", 2, f"Also {extra}")
    assert [step.name.split("'")[1] for step in steps] == ["Start", "Page /a", "Extra", "Page /b"]
    assert outcome.error is None


async def test_progress_never_goes_back_and_ends_at_one(site: Site) -> None:
    start = linked(site, ["/a", "/b"])
    site.html("/a", PROSE + "".join(f'<a href="/a/{n}">{n}</a>' for n in range(9)))
    _, steps, _ = await read(f"Read {start} {site.url('/b')} up to 9 pages")
    shares = [step.progress for step in steps]
    assert shares == sorted(shares)
    assert max(shares[:-1]) < 1.0
    assert shares[-1] == 1.0
    assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]


async def test_instructions_add_pages_raise_the_limit_and_are_noted(site: Site) -> None:
    start = linked(site, ["/a", "/b", "/c"])
    extra = site.html("/extra", PROSE, title="Extra")
    engine = ReaderEngine(context(f"Read {start} and {site.url('/b')}"))
    await engine.open()
    await engine.step()
    await engine.instruct(f"Also <read> {extra}, up to 4 pages")
    names = [step.name.split("'")[1] for step in await finish(engine)]
    await engine.close()
    assert names == ["Page /b", "Extra", "Page /a"]
    assert f"- Also &lt;read&gt; {extra}, up to 4 pages" in engine.outcome().result
    assert f"Also &lt;read&gt; {extra}, up to 4 pages" in engine.outcome().report


async def test_nothing_read_is_a_failure_with_the_reason_of_each_page(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        outcome, steps, _ = await read(f"Read {site.url('/gone')} and {dead}")
    assert [step.ok for step in steps] == [False, False]
    assert outcome.error is not None
    assert outcome.error.startswith("Nothing could be read:")
    assert f"{site.url('/gone')} 404 Not Found" in outcome.error
    assert f"{dead} cannot be connected to" in outcome.error


async def test_one_page_that_fails_does_not_fail_the_task(site: Site) -> None:
    good = site.html("/good", PROSE, title="Good")
    outcome, steps, _ = await read(f"Read {site.url('/gone')} and {good}")
    assert [step.ok for step in steps] == [False, True]
    assert outcome.error is None
    assert f"[{site.url('/gone')}]({site.url('/gone')}) 404 Not Found" in outcome.result


HOSTILE = (
    "<h1>Hi &lt;script&gt;alert(1)&lt;/script&gt; | [x](javascript:alert(2)) `*_</h1>"
    "<p>&lt;img src=x onerror=alert(3)&gt; # not a heading. Words enough to be the main text of "
    "this page, which goes on for a while so that it counts as one.</p>"
    "<script>alert('never')</script>"
    "<table><tr><th>a&lt;b&gt;</th><th>x|y</th></tr><tr><td>1</td><td>2</td></tr></table>"
    '<a href="javascript:alert(4)">j</a><a href="http://h/)%22&quot;&gt;&lt;b|">&lt;b&gt;](x)</a>'
)


async def test_what_a_page_says_stays_text(site: Site) -> None:
    url = site.html("/h", HOSTILE, title="T</title><title>&lt;b&gt;\x00\u202e")
    outcome, _, _ = await read(f"Read {url} <script>task()</script>")
    for markup in (outcome.result, outcome.report):
        assert "<script" not in markup
        assert "<img" not in markup
        assert "never" not in markup
        assert 'href="javascript:' not in markup
        assert "\x00" not in markup
        assert "\u202e" not in markup
    assert "](javascript:" not in outcome.result.replace("\\](", "")
    assert "\\[x\\](javascript:alert(2)) \\`\\*\\_" in outcome.result
    assert "| a&lt;b&gt; | x\\|y |" in outcome.result
    assert "[&lt;b&gt;\\](x)](http://h/%29%22%22%3E%3Cb%7C)" in outcome.result


async def test_the_report_stands_alone_and_may_run_nothing(site: Site) -> None:
    url = site.html("/r", PROSE, title="Harbour")
    outcome, _, _ = await read(f"Read {url} and {site.url('/gone')}")
    report = outcome.report
    assert report.startswith("<!doctype html>")
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', report)[0]
    assert policy.startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"<(script|link|img|iframe)\b|\bsrc=|@import|url\(|style=", report)
    for part in ("Harbour", "s-1", "00000000-0000-0000-0000-000000000001", "404 Not Found"):
        assert part in report


async def test_credentials_are_used_and_shown_nowhere(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with Site() as other:
        other.html("/x", PROSE)
        site.html("/in", f'{PROSE} <a href="http://u:hunter2@h/">l</a> http://u:hunter2@h/x')
        site.redirect("/go", f"http://u:hunter2@{other.netloc}/x")
        caplog.set_level("DEBUG")
        task = (
            f"Read http://jo:hunter2@{site.netloc}/in http://jo:hunter2@{site.netloc}/gone "
            f"http://jo:hunter2@{site.netloc}/go"
        )
        engine = ReaderEngine(context(task))
        await engine.open()
        steps = [await engine.step()]
        await engine.instruct(f"and http://jo:hunter2@{other.netloc}/gone")
        steps += await finish(engine)
        outcome = engine.outcome()
        await engine.close()
        assert site.headers_seen["/in"]["Authorization"] == "Basic am86aHVudGVyMg=="
        for headers in other.headers_seen.values():
            assert "Authorization" not in headers
    shown = [outcome.result, outcome.report, json.dumps(engine.checkpoint()), caplog.text]
    shown += [step.name for step in steps]
    assert len(steps) == 4
    for text in shown:
        assert "hunter2" not in text
    assert "Credentials in an instruction are not used" in outcome.result


async def test_pages_do_not_share_cookies(site: Site) -> None:
    first = site.serve("/1", b"<h1>1</h1>", Set_Cookie="seen=yes")
    await read(f"Read {first} and {site.html('/2', PROSE)}")
    assert "Cookie" not in site.headers_seen["/2"]


async def test_the_fingerprint_changes_with_the_content_and_not_with_the_markup(site: Site) -> None:
    async def fingerprint(body: str) -> str:
        outcome, _, _ = await read(f"Read {site.html('/f', body)}")
        return str(re.findall(r"of the run: `(\w{16})`", outcome.result)[0])

    one = await fingerprint(PROSE)
    assert await fingerprint(f'<div data-nonce="7">{PROSE}</div><script>n=8</script>') == one
    assert await fingerprint(PROSE.replace("1987", "1988")) != one


async def test_many_large_pages_stay_within_the_limits_of_result_and_checkpoint(site: Site) -> None:
    words = "日本語の文章がここにあります。<b>&amp;|*_</b> " * 1200
    table = "<table>" + "<tr><td>セル</td><td>&lt;|*</td><td>x</td></tr>" * 200 + "</table>"
    body = "".join(f"<h2>見出し {n}</h2><p>{words[:900]}</p>" for n in range(15)) + table
    paths = [f"/{n}" for n in range(PAGES_CAP + 20)]
    for path in paths:
        site.html(path, body, title="題" * 400)
    links = "".join(f'<a href="{path}">{path}</a>' for path in paths)
    start = site.html("/", links)
    outcome, steps, engine = await read(f"Read {start} up to 5000 pages")
    assert len(steps) == PAGES_CAP
    assert len(outcome.result.encode()) < 400_000
    assert len(json.dumps(engine.checkpoint())) < 400_000
    assert all(len(step.name) <= 120 for step in steps)
    assert "Not everything on the page is kept here." in outcome.result


async def test_one_very_large_page_is_read_without_holding_up_other_work(site: Site) -> None:
    url = site.endless("/huge", 100_000_000)
    engine = ReaderEngine(context(f"Read {url}", page_bytes=3_000_000))
    await engine.open()
    longest = 0.0
    step = asyncio.ensure_future(engine.step())
    while not step.done():
        before = time.monotonic()
        await asyncio.wait([step], timeout=0.01)
        longest = max(longest, time.monotonic() - before)
    await engine.close()
    assert step.result().ok
    assert longest < 1.0


async def test_a_cancelled_step_leaves_the_engine_closable_and_the_checkpoint_as_it_was(
    site: Site,
) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def page(visit: Visit) -> None:
        loop.call_soon_threadsafe(asked.set)
        site.closing.wait(10)

    site.pages["/slow"] = page
    engine = ReaderEngine(context(f"Read {site.url('/slow')}"))
    await engine.open()
    before = engine.checkpoint()
    step = asyncio.ensure_future(engine.step())
    await asyncio.wait_for(asked.wait(), 5)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert engine.checkpoint() == before
    await engine.close()
    await engine.close()


def test_a_foreign_checkpoint_is_refused() -> None:
    with pytest.raises(EngineError, match="checkpoint"):
        ReaderEngine(context("Read http://a.example/")).restore({"other": 1})


async def test_an_unfinished_run_shows_what_it_has(site: Site) -> None:
    start = linked(site, ["/a"])
    engine = ReaderEngine(context(f"Read {start} up to 2 pages"))
    await engine.open()
    assert engine.outcome().error is None
    await engine.step()
    assert "Start" in engine.outcome().result
    await engine.close()


def test_the_templates_are_part_of_the_package() -> None:
    root = Path(__file__).parents[3]
    for file in (
        "vibesurf_blocks/reports/templates/base.html.j2",
        "vibesurf_blocks/reports/templates/base.css",
        "vibesurf_blocks/engines/reader/templates/reader.html.j2",
    ):
        assert (root / file).is_file()
