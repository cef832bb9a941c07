"""What the driver tells the model, and what it tells of a step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from browser_use.agent.views import ActionResult, AgentOutput
from browser_use.llm.messages import (
    AssistantMessage,
    BaseMessage,
    ContentPartImageParam,
    ContentPartTextParam,
    ImageURL,
    SystemMessage,
    UserMessage,
)
from browser_use.tools.registry.views import ActionModel

from vibesurf_blocks.engines.browser_use.driver import Driver, _acts
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


def test_a_secret_is_hidden_before_anything_is_cut() -> None:
    secret = "word-" * 8
    secrets = Secrets([("pw", secret)], [])

    class Acts(ActionModel):
        type_in: dict[str, str] | None = None

    output = AgentOutput.model_construct(action=[Acts(type_in={"text": f"{'x' * 20}{secret}"})])
    result = ActionResult(extracted_content="y" * 3_990 + secret, error="z" * 3_990 + secret)
    element = SimpleNamespace(
        node_name="button", attributes={"title": secret}, ax_name="x" * 50 + secret
    )
    (act,) = _acts(secrets, output, [result], [element])
    assert act.said.startswith("type in(text=xxx")
    assert "word-" not in act.model_dump_json()
    assert element.attributes == {"title": secret}
