"""Pages for agents with a browser: a form, a table over three pages, a login, and nasty ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.support.site import Site, Visit

ROWS = 9
PER_PAGE = 3


@dataclass
class Web:
    """Where the pages are, and what was sent to them.

    Attributes:
        sent: What each form was sent with, in order.
    """

    site: Site
    sent: list[dict[str, str]] = field(default_factory=list)

    @property
    def form(self) -> str:
        """A form of two fields, a choice and a button; `sent` has what it is sent with."""
        return self.site.url("/form")

    @property
    def login(self) -> str:
        """A login that greets by name and repeats the password, as no page should."""
        return self.site.url("/login")

    def table(self, page: int = 1) -> str:
        """One page of a table; each but the last has a link `Next`."""
        return self.site.url(f"/table/{page}")

    @property
    def download(self) -> str:
        """A page with a link to a file."""
        return self.site.url("/download")

    def upload(self) -> Received:
        """A page that takes a file."""
        received = Received(
            self.site.html(
                "/upload",
                '<form method="post" action="/uploaded" enctype="multipart/form-data">'
                '<input type="file" name="file"><button>Send it</button></form>',
                "Upload",
            )
        )

        def take(visit: Visit) -> None:
            received.body = visit.body
            visit.answer(b"<h1>Got it</h1>")

        self.site.pages["/uploaded"] = take
        return received

    def composio(self) -> list[dict[str, Any]]:
        """One tool, as Composio's API serves it; what it was run with."""
        asked: list[dict[str, Any]] = []
        tool = {
            "slug": "MAIL_SEND",
            "description": "Send a mail.",
            "input_parameters": {
                "type": "object",
                "properties": {"to": {"type": "string", "description": "Who gets it."}},
                "required": ["to"],
            },
        }

        def execute(visit: Visit) -> None:
            asked.append(json.loads(visit.body))
            said = {"successful": True, "data": {"id": "mail-17"}}
            visit.answer(json.dumps(said).encode(), "application/json")

        self.site.serve("/api/v3/tools/MAIL_SEND", json.dumps(tool).encode(), "application/json")
        self.site.pages["/api/v3/tools/execute/MAIL_SEND"] = execute
        return asked

    @property
    def dialog(self) -> str:
        """A page whose button asks before it does anything."""
        return self.site.url("/dialog")


@dataclass
class Received:
    """A page that takes a file, and what it was sent."""

    url: str
    body: bytes = b""


STYLE = """<style>
body { font: 18px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; color: #223; }
label { display: block; margin: .8rem 0; } input, select, button { font: inherit; padding: .3rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .4rem;
border-bottom: 1px solid #ccd; } a { display: inline-block; margin-top: 1rem; }
</style>"""
FORM = f"""{STYLE}<h1>Order</h1><form method="post" action="/sent">
<label>Name <input id="name" name="name"></label>
<label>Mail <input id="mail" name="mail" type="email"></label>
<label>Size <select name="size"><option>small<option>large</select></label>
<button id="send">Send</button></form>"""
LOGIN = """<h1>Log in</h1><form method="post" action="/welcome">
<label>User <input name="user"></label>
<label>Password <input name="password" type="password"></label>
<button>Log in</button></form>"""


def pages(site: Site) -> Web:
    """Put the pages on a site."""
    web = Web(site)
    site.html("/form", FORM, "Order form")
    site.html("/login", LOGIN, "Log in")
    site.html("/download", '<h1>Files</h1><a href="/file.csv" download>Numbers</a>', "Files")
    site.serve("/file.csv", b"a,b\n1,2\n", "text/csv", Content_Disposition="attachment")
    site.html(
        "/dialog",
        "<h1 id=said>Nothing yet</h1><button onclick=\"document.getElementById('said').innerText ="
        " confirm('Really?') ? 'Agreed' : 'Declined'\">Ask</button>",
        "Dialog",
    )
    last = ROWS // PER_PAGE
    for page in range(1, last + 1):
        rows = "".join(
            f"<tr><td>Item {number}</td><td>{number * 10} EUR</td></tr>"
            for number in range((page - 1) * PER_PAGE + 1, page * PER_PAGE + 1)
        )
        onward = f'<a href="/table/{page + 1}">Next</a>' if page < last else "<p>The end.</p>"
        site.html(
            f"/table/{page}",
            f"{STYLE}<h1>Prices</h1><table><tr><th>Item<th>Price</tr>{rows}</table>{onward}",
            f"Prices, page {page}",
        )

    def receive(visit: Visit) -> dict[str, str]:
        given = {name: values[0] for name, values in parse_qs(visit.body.decode()).items()}
        web.sent.append(given)
        return given

    def thank(visit: Visit) -> None:
        name = receive(visit).get("name", "nobody")
        visit.answer(f"<title>Sent</title>{STYLE}<h1>Thank you, {name}</h1>".encode())

    def welcome(visit: Visit) -> None:
        given = receive(visit)
        said = f"<h1>Welcome {given.get('user')}</h1><p>Your password is {given.get('password')}."
        visit.answer(f"<title>Inside</title>{said}".encode())

    site.pages["/sent"] = thank
    site.pages["/welcome"] = welcome
    return web
