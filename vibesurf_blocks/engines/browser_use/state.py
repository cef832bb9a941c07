"""What the engine knows after a step; its checkpoint is this as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from vibesurf_blocks.engines.protocol import Usage


class Act(BaseModel):
    """One action of a step.

    Attributes:
        kind: Its name in browser-use, such as `click`.
        said: What it does, in words.
        result: What came of it, as the agent was told; None for nothing.
        error: Why it failed, None where it did not.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    said: str
    result: str | None = None
    error: str | None = None


class Taken(BaseModel):
    """One step, as the report tells it.

    Attributes:
        number: From 1.
        name: What it did.
        ok: Whether it reached what it tried.
        url: The page as the step left it.
        title: That page's title.
        thinking: What the model thought, where it says so.
        evaluation: How the model judged the step before.
        memory: What the model keeps in mind.
        goal: What it wanted next.
        acts: What it did.
        error: Why nothing could be done at all, None where something was.
        picture: File with a picture of the page as the step left it, in the run's folder.
        seconds: What the step took.
    """

    model_config = ConfigDict(extra="forbid")

    number: int
    name: str
    ok: bool = True
    url: str = ""
    title: str = ""
    thinking: str | None = None
    evaluation: str | None = None
    memory: str | None = None
    goal: str | None = None
    acts: list[Act] = []
    error: str | None = None
    picture: str | None = None
    seconds: float = 0.0


class State(BaseModel):
    """State of a run.

    Attributes:
        version: Of this format.
        agent: browser-use's own state, None before the first step.
        output: The model's last answer, which browser-use needs for the next step's prompt.
        browser: Address of the browser that the last step was taken in.
        taken: The steps.
        instructions: Instructions given on the way.
        usage: What was used of the model.
        progress: Share of the task that is done, 0 to 1.
        finished: Whether the agent said that it is done.
        success: Whether it then said that it did the task.
        result: What it answered at the end.
        files: Text of the files it wrote, by name.
        gave_up: Why the engine ended the run, None where it did not.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    agent: dict[str, JsonValue] | None = None
    output: JsonValue = None
    browser: str | None = None
    taken: list[Taken] = []
    instructions: list[str] = []
    usage: Usage = Usage()
    progress: float = 0.0
    finished: bool = False
    success: bool | None = None
    result: str | None = None
    files: dict[str, str] = {}
    gave_up: str | None = None
