"""What the driver tells the model, and what it tells of a step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from browser_use.llm.messages import (
    AssistantMessage,
    BaseMessage,
    ContentPartImageParam,
    ContentPartTextParam,
    ImageURL,
    SystemMessage,
    UserMessage,
)

from vibesurf_blocks.engines.browser_use.driver import Driver
from vibesurf_blocks.engines.browser_use.secrets import Secrets

SECRETS = Secrets([("pw", "hunter22"), ("pw", "other-word")], ["t0ken-of-mcp"], ["eu-west-1"])


class Model:
    """A model that keeps what it is asked."""

    model = "m-1"

    def __init__(self) -> None:
        self.asked: list[BaseMessage] = []

    async def ainvoke(self, messages: Sequence[BaseMessage], *_: Any, **__: Any) -> Any:
        self.asked = list(messages)
        return SimpleNamespace(usage=None)


async def test_no_prompt_holds_a_secret_and_no_message_is_changed() -> None:
    model, driver = Model(), Driver.__new__(Driver)
    driver._log, driver._secrets = logging.getLogger(__name__), SECRETS
    driver._watch(model)  # type: ignore[arg-type]
    image = ContentPartImageParam(image_url=ImageURL(url="data:image/png;base64,hunter22"))
    text = "hunter22, other-word and t0ken-of-mcp in eu-west-1"
    messages: list[BaseMessage] = [
        SystemMessage(content=text, cache=True),
        UserMessage(content=[ContentPartTextParam(text=text), image]),
        AssistantMessage(content=None),
    ]
    before = [message.model_copy(deep=True) for message in messages]
    await model.ainvoke(messages)
    hidden = "<secret>pw</secret>, <secret>pw</secret> and *** in eu-west-1"
    assert model.asked == [
        SystemMessage(content=hidden, cache=True),
        UserMessage(content=[ContentPartTextParam(text=hidden), image]),
        AssistantMessage(content=None),
    ]
    assert messages == before
