"""Drives browser-use's agent through single steps; the one place that knows its inside.

Its own `run` is not used: it would pause by throwing an answer away, stop only after the model has
answered, and leave tasks behind that keep a process from ending. Between two steps it is at rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from browser_use import Agent
from browser_use.agent.views import ActionResult, AgentOutput, AgentState, AgentStepInfo
from browser_use.llm.exceptions import ModelProviderError
from browser_use.llm.messages import BaseMessage, ContentPartTextParam
from browser_use.tools.service import Tools
from pydantic import JsonValue, ValidationError

from vibesurf_blocks.engines.browser_use.pages import Pages
from vibesurf_blocks.engines.browser_use.secrets import Secrets, Sensitive
from vibesurf_blocks.engines.browser_use.state import Act, Taken
from vibesurf_blocks.engines.browser_use.words import element_words, said, step_name

if TYPE_CHECKING:
    from browser_use.llm.base import BaseChatModel
    from browser_use.llm.views import ChatInvokeUsage

    from vibesurf_blocks.engines.browser_use.narration import Log
    from vibesurf_blocks.tasks import AgentMode

FAILURES = 5
"""Steps in a row that may fail; then the model is asked once more, for what it has."""

_TEXT = 4_000
_DROPPED: Final[Any] = {
    "last_model_output": True,
    "message_manager_state": {"history", "read_state_images"},
}


class RefusedError(Exception):
    """The model's provider refuses every request: asking again is of no use."""

    REFUSALS = frozenset({401, 402, 403, 404})


class _Silence:
    """In place of the agent's event bus, whose events nobody hears and which keeps them all."""

    def dispatch(self, event: object) -> object:
        """Drop an event."""
        return event


class _Pictures:
    """In place of browser-use's own files of pictures."""

    async def store_screenshot(self, screenshot_b64: str, step_number: int) -> None:
        """Keep nothing: the engine takes its own."""


@contextmanager
def _only_what_is_used() -> Iterator[None]:
    """Spare an agent the import of Anthropic's client, for a question that is answered without.

    It asks whether its model is such a client; one that was never imported it cannot be. The import
    takes a second of every run.
    """
    name = "browser_use.llm.anthropic.chat"
    if name in sys.modules:
        yield
        return
    absent = ModuleType(name)
    absent.ChatAnthropic = type("ChatAnthropic", (), {})  # type: ignore[attr-defined]
    sys.modules[name] = absent
    try:
        yield
    finally:
        del sys.modules[name]


class _Agent(Agent[Any, Any]):
    """The agent without the folders that it would make in the system's temporary one."""

    def _set_screenshot_service(self) -> None:
        self.screenshot_service = _Pictures()  # type: ignore[assignment]


class Driver:
    """An agent at rest between two steps."""

    def __init__(
        self,
        *,
        task: str,
        instructions: Sequence[str],
        mode: AgentMode,
        model: BaseChatModel,
        vision: bool,
        pages: Pages,
        tools: Tools[Any],
        sensitive: Sensitive,
        secrets: Secrets,
        uploads: Sequence[Path],
        folder: Path,
        state: dict[str, JsonValue] | None,
        output: JsonValue,
        max_steps: int,
        answer_seconds: float,
        log: Log,
    ) -> None:
        """Make the agent, as it was left where there is a state."""
        self._log = log
        self._secrets = secrets
        self._max_steps = max_steps
        self._refusal: ModelProviderError | None = None
        self._watch(model)
        found = AgentState.model_validate(state) if state is not None else None
        with _only_what_is_used():
            self._agent = _Agent(
                task=_with_instructions(task, instructions),
                llm=model,
                browser_session=pages,
                tools=tools,
                sensitive_data=sensitive or None,
                available_file_paths=[str(path) for path in uploads],
                use_thinking=mode == "thinking",
                flash_mode=mode == "flash",
                use_vision=vision,
                injected_agent_state=found,
                # The state names the folder of a run that goes on.
                file_system_path=None if found and found.file_system_state else str(folder),
                max_failures=FAILURES,
                llm_timeout=int(answer_seconds) + 1,
                use_judge=False,
                calculate_cost=False,
                directly_open_url=False,
                enable_signal_handler=False,
            )
        self._agent.eventbus = _Silence()
        if output is not None:
            with suppress(ValidationError):  # made by a tool that is not there any more
                self._agent.state.last_model_output = self._agent.AgentOutput.model_validate(output)

    @property
    def pages(self) -> Pages:
        """The pages it works on."""
        pages = self._agent.browser_session
        assert isinstance(pages, Pages)  # noqa: S101 - given above
        return pages

    @pages.setter
    def pages(self, pages: Pages) -> None:
        self._agent.browser_session = pages

    @property
    def usage(self) -> list[ChatInvokeUsage]:
        """What each call of the model has used since this driver was made."""
        return [entry.usage for entry in self._agent.token_cost_service.usage_history]

    @property
    def failures(self) -> int:
        """Steps in a row that failed."""
        return self._agent.state.consecutive_failures

    @property
    def plan(self) -> float | None:
        """Share of its plan that is done, None where it has none."""
        plan = self._agent.state.plan
        return sum(item.status == "done" for item in plan) / len(plan) if plan else None

    def tell(self, message: str) -> None:
        """Let the agent know of something that happened to it."""
        self._agent.state.last_result = [
            *(self._agent.state.last_result or []),
            ActionResult(long_term_memory=message),
        ]

    def instruct(self, instruction: str) -> None:
        """Add to the task, from the next step on."""
        # The agent's own method would also swap its event bus and undo a pause.
        self._agent.message_manager.add_new_task(instruction)
        self._agent.state.follow_up_task = True

    async def step(self) -> Taken:
        """Take a step; a failed one says so.

        Raises:
            RefusedError: The model's provider refuses.
        """
        agent = self._agent
        number = agent.state.n_steps
        begun = time.monotonic()
        known = len(agent.history.history)
        self._refusal = None
        await agent.step(AgentStepInfo(step_number=number - 1, max_steps=self._max_steps))
        if self._refusal is not None:
            raise RefusedError(str(self._refusal.message))
        url, title = await self.pages.where()
        entry = agent.history.history[-1] if len(agent.history.history) > known else None
        # One alone is needed to tell of; a long run would keep every page's text.
        agent.history.history = agent.history.history[-1:]
        if agent.state.n_steps == number:
            agent.state.n_steps += 1  # it failed before it had a result: it counts all the same
        results = agent.state.last_result or []
        output = agent.state.last_model_output
        # Hidden before anything is cut: half a secret would not be found.
        hide = self._secrets.hide
        acts = _acts(
            self._secrets, output, results, entry.state.interacted_element if entry else []
        )
        error = None
        if not acts:
            error = next((one.error for one in results if one.error), "It did nothing.")
            error = hide(error)
        goal = hide(output.next_goal) if output is not None and output.next_goal else None
        return Taken(
            number=number,
            name=step_name([act.said for act in acts], goal)
            if error is None
            else f"Failed: {_first_line(error)}"[:120],
            ok=error is None and not any(act.error for act in acts),
            url=url,
            title=title,
            thinking=_text(output.thinking, hide) if output else None,
            evaluation=_text(output.evaluation_previous_goal, hide) if output else None,
            memory=_text(output.memory, hide) if output else None,
            goal=_text(goal, hide),
            acts=acts,
            error=_text(error, hide),
            seconds=round(time.monotonic() - begun, 2),
        )

    @property
    def ending(self) -> tuple[bool | None, str] | None:
        """Whether the agent says that it did its task and what it answers; None until it ends."""
        results = self._agent.state.last_result
        if not results or not results[-1].is_done:
            return None
        return results[-1].success, results[-1].extracted_content or ""

    @property
    def state(self) -> tuple[dict[str, JsonValue], JsonValue]:
        """What another driver needs to go on: the agent's state, and the model's last answer."""
        state = self._agent.state.model_dump(mode="json", exclude=_DROPPED)
        output = self._agent.state.last_model_output
        return state, output.model_dump(mode="json", exclude_none=True) if output else None

    @property
    def files(self) -> dict[str, str]:
        """Text of the files that the agent wrote, by name."""
        texts = {}
        for name, file in self._agent.file_system.files.items():
            content = getattr(file, "content", None)
            if isinstance(content, str) and content.strip():
                texts[name] = self._secrets.hide(content)[:_TEXT]
        return texts

    def _watch(self, model: BaseChatModel) -> None:
        """Log each call of the model, and note a refusal, which the agent takes for a failure.

        What goes to the model is without secrets: browser-use filters the prompts of steps alone,
        and of two secrets with one name only one.
        """
        ask = model.ainvoke

        async def watched(messages: Any, output_format: Any = None, **more: Any) -> Any:  # noqa: ANN401
            begun = time.monotonic()
            hidden = [_hidden(message, self._secrets) for message in messages]
            try:
                answer = await ask(hidden, output_format, **more)
            except ModelProviderError as error:
                if error.status_code in RefusedError.REFUSALS:
                    self._refusal = error
                raise
            usage = answer.usage
            counted = f", {usage.prompt_tokens} + {usage.completion_tokens} tokens" if usage else ""
            self._log.debug(
                "%s answered in %.1f s%s.", model.model, time.monotonic() - begun, counted
            )
            return answer

        # As browser-use itself does: some clients are dataclasses, others models of pydantic.
        object.__setattr__(model, "ainvoke", watched)


def _hidden(message: BaseMessage, secrets: Secrets) -> BaseMessage:
    """A copy of a message for the model, without secrets in its texts."""
    content = message.content
    hidden: object = content
    if isinstance(content, str):
        hidden = secrets.hide_from_model(content)
    elif content is not None:
        hidden = [
            part.model_copy(update={"text": secrets.hide_from_model(part.text)})
            if isinstance(part, ContentPartTextParam)
            else part
            for part in content
        ]
    return message.model_copy(update={"content": hidden})


def _with_instructions(task: str, instructions: Sequence[str]) -> str:
    """The task as browser-use words it after instructions were added to it."""
    if not instructions:
        return task
    added = "\n".join(
        f"<follow_up_user_request> {one.strip()} </follow_up_user_request>" for one in instructions
    )
    return f"<initial_user_request>{task}</initial_user_request>\n{added}"


def _acts(
    secrets: Secrets,
    output: AgentOutput | None,
    results: Sequence[ActionResult],
    elements: Sequence[Any],
) -> list[Act]:
    acts = []
    for place, action in enumerate(output.action if output is not None else []):
        if place >= len(results):
            break  # the page changed under it: what followed was not done
        given = action.model_dump(exclude_none=True, mode="json")
        kind = next(iter(given), "nothing")
        parameters = secrets.hide_all(given.get(kind))
        element = elements[place] if place < len(elements) else None
        attributes = (element.attributes or {}) if element is not None else {}
        acts.append(
            Act(
                kind=kind,
                said=said(
                    kind,
                    parameters if isinstance(parameters, dict) else {},
                    element
                    and element_words(
                        element.node_name,
                        {name: secrets.hide(str(value)) for name, value in attributes.items()},
                        element.ax_name and secrets.hide(element.ax_name),
                    ),
                ),
                result=_text(
                    results[place].extracted_content or results[place].long_term_memory,
                    secrets.hide,
                ),
                error=_text(results[place].error, secrets.hide),
            )
        )
    return acts


def _text(text: str | None, hide: Callable[[str], str]) -> str | None:
    return hide(text.strip())[:_TEXT] or None if text else None


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), text)
