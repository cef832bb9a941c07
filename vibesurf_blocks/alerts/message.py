"""What an alert says, to programs and to people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from vibesurf_blocks.alerts.rules import Occasion

Kind = Literal["task", "batch", "workflow"]

_SHOWN = 500


class Subject(BaseModel):
    """What an alert is about."""

    model_config = ConfigDict(frozen=True)

    occasion: Occasion
    kind: Kind
    run_id: Annotated[str, Field(description="The flow run; of a task its `task_id`.")]
    name: Annotated[str, Field(description="The flow run's name.")]
    session_id: str | None = None
    about: Annotated[
        str | None, Field(description="The task's description, or the step that failed.")
    ] = None
    message: Annotated[str | None, Field(description="Why, in Prefect's words.")] = None
    at: AwareDatetime
    url: Annotated[str | None, Field(description="The run in the Prefect UI.")] = None

    def payload(self, message_id: str) -> dict[str, JsonValue]:
        """The message for a webhook."""
        data: dict[str, JsonValue] = self.model_dump(mode="json")
        return {
            "id": message_id,
            "type": f"{self.kind}.{self.occasion}",
            "timestamp": self.at.isoformat(),
            "data": data,
        }

    @property
    def title(self) -> str:
        """The subject line for people."""
        if self.occasion is Occasion.WAITING:
            return f"The {self.kind} {self.name} waits for its slot"
        if self.occasion is Occasion.STEP_FAILED:
            return f"A step of the {self.kind} {self.name} failed"
        word = "was " if self.occasion in {Occasion.STOPPED, Occasion.SKIPPED} else ""
        return f"The {self.kind} {self.name} {word}{self.occasion}"

    @property
    def text(self) -> str:
        """The text for people."""
        lines = [self.about, self.message, self.url]
        return "\n".join(short(line) for line in lines if line)


def short(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
