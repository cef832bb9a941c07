"""A model that reads the first two pages of a table and is done, whatever happened before.

It goes by the page it is shown alone, so an agent that was killed and started again gets on.
"""

from __future__ import annotations

from tests.support.model_server import Answer, Exchange, acts, done
from tests.support.web import PER_PAGE, Web

RESULT = "The prices stand on two pages."


def reads_table(web: Web) -> Answer:
    """Answers with the next page of the table that the agent does not see yet."""

    def answer(exchange: Exchange) -> None:
        seen = exchange.asked.text
        if not exchange.asked.structured:
            exchange.say("Paris." if "capital" in seen else "Well.")
        elif f"Item {PER_PAGE + 1}" in seen:
            done(RESULT)(exchange)
        else:
            page = 2 if "Item 1" in seen else 1
            acts({"navigate": {"url": web.table(page), "new_tab": False}})(exchange)

    return answer
