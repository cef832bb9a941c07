"""What a person asks an agent to do: the submit body, its limits, and the six statuses."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vibesurf_blocks.alerts.rules import Alerts

BUILTIN_PROFILE = "builtin"
"""Profile name of the built-in reader, which needs no model."""

AGENT_FLOW = "agent-run"
"""Name of the flow whose runs are tasks."""

AGENT_DEPLOYMENT = "agent"
"""Name of the standing deployment of that flow."""

BACKEND_FLOW = "backend-flow"
"""Name of the flow that triggers a flow of a VibeSurf backend."""

BACKEND_DEPLOYMENT = "backend"
"""Name of the standing deployment of that flow."""

BATCH_FLOW = "batch"
"""Name of the flow that runs a list of tasks."""

BATCH_DEPLOYMENT = "batch"
"""Name of the standing deployment of that flow."""

WORKFLOW_FLOW = "workflow"
"""Name of the flow that runs tasks as the steps of a workflow."""

WORKFLOW_DEPLOYMENT = "workflow"
"""Name of the standing deployment of that flow."""

ALERT_FLOW = "alert"
"""Name of the flow that tells people what happened."""

ALERT_DEPLOYMENT = "alert"
"""Name of the standing deployment of that flow."""

BACKEND_BLOCK_TYPE = "vibesurf-backend"
"""Slug of the block type that holds a backend's address and credentials."""

BACKEND_BLOCK = "default"
"""Name of the block that is used where none is named."""

BACKEND_PROVIDER = "vibesurf-backend"
"""Provider of LLM profiles whose tasks are handed to a VibeSurf backend."""

DEFAULT_BLOCK = "default"
"""Name of the block of MCP servers, toolkits or browser settings that counts for every task."""

LLM_PROFILE_TYPE = "llm-profile"
"""Slug of the block type that holds a language model."""

MCP_SERVERS_TYPE = "mcp-servers"
"""Slug of the block type that holds MCP servers."""

COMPOSIO_TYPE = "composio-toolkits"
"""Slug of the block type that holds Composio toolkits."""

BROWSER_SETTINGS_TYPE = "browser-settings"
"""Slug of the block type that holds how the browser is started."""

DESCRIPTION_LIMIT = 100_000
"""Characters of a task description at the most."""

PROFILE_NAME_LIMIT = 100
"""Characters of a profile's name at the most."""

SESSION_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$"

AgentMode = Literal["thinking", "no-thinking", "flash"]


class Status(StrEnum):
    """Status of a task, in rows and answers alike."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def terminal(self) -> bool:
        """Whether a task with this status has ended."""
        return self in {Status.COMPLETED, Status.FAILED, Status.STOPPED}


class Priority(StrEnum):
    """Which of the tasks that wait gets the slot next; of equal ones the one asked for first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def _no_nul(value: str) -> str:
    if "\x00" in value:
        msg = "must not contain NUL characters"
        raise ValueError(msg)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        msg = "must be valid Unicode: it holds a lone surrogate"
        raise ValueError(msg) from error
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        msg = "must say something: it is empty or only white space"
        raise ValueError(msg)
    return value


def _no_template(value: str) -> str:
    # Prefect takes an object with this key for a template that it is to fill in.
    if value == "__prefect_kind":
        msg = "must not be '__prefect_kind', which means something else to Prefect"
        raise ValueError(msg)
    return value


def _session_name(value: str) -> str:
    if not re.fullmatch(SESSION_PATTERN, value):
        msg = (
            "must be one path segment of letters, digits, '.', '_' and '-', at most 255 "
            "characters, not starting with a dot"
        )
        raise ValueError(msg)
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
SessionId = Annotated[
    Text,
    AfterValidator(_session_name),
    Field(
        description="The conversation this task belongs to; names its folder in the workspace. "
        "Letters, digits, '.', '_' and '-', not starting with a dot.",
        max_length=255,
        min_length=1,
        json_schema_extra={"pattern": SESSION_PATTERN},
    ),
]
TaskDescription = Annotated[
    Text,
    AfterValidator(_not_blank),
    Field(
        description="What the agent is to do, in plain words. The built-in reader reads the URLs "
        "named here; add 'up to N pages' to let it follow links on the same site.",
        min_length=1,
        max_length=DESCRIPTION_LIMIT,
    ),
]
ProfileText = Annotated[
    Text, AfterValidator(_not_blank), Field(min_length=1, max_length=PROFILE_NAME_LIMIT)
]
ProfileName = Annotated[
    ProfileText,
    Field(
        description=f"LLM profile to use; '{BUILTIN_PROFILE}' is the built-in reader, which needs "
        "no model. Where none is named the default profile counts, and without one the reader.",
    ),
]


MaxSteps = Annotated[
    int, Field(ge=1, le=10_000, description="Steps the run may take; by default the setting's.")
]
MaxTokens = Annotated[
    int,
    Field(
        ge=1,
        le=10**12,
        description="Tokens the run may use of its model; by default the setting's.",
    ),
]
MaxCost = Annotated[
    float,
    Field(gt=0, le=10**9, description="US dollars the run may cost; by default the setting's."),
]
TimeoutSeconds = Annotated[
    float,
    Field(
        gt=0,
        le=7 * 86_400,
        description="Seconds the run may work, pauses apart; by default the setting's.",
    ),
]
IdleSeconds = Annotated[
    float,
    Field(
        gt=0,
        le=7 * 86_400,
        description="Seconds one step may take without an end; by default the setting's.",
    ),
]
UploadPath = Annotated[
    Text,
    Field(
        description="Files for the agent: a path inside the session's `uploads` folder, absolute "
        "or relative to it.",
        max_length=500,
    ),
]


TaskAlerts = Annotated[
    Alerts | None, Field(description="Who is told of what; by default as the settings say.")
]
EnvName = Annotated[
    Text,
    AfterValidator(_no_template),
    Field(min_length=1, max_length=255, pattern=r"^[^=]+$"),
]
ServerName = Annotated[
    Text,
    AfterValidator(_not_blank),
    AfterValidator(_no_template),
    Field(min_length=1, max_length=100),
]


class McpServer(BaseModel):
    """One MCP server that is started over stdio."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[
        Text,
        AfterValidator(_not_blank),
        Field(min_length=1, description="Program to start."),
    ]
    args: Annotated[list[Text], Field(description="Its arguments.")] = []
    env: Annotated[
        dict[EnvName, Text],
        Field(description="Its environment; the values are treated as secrets and not shown."),
    ] = {}
    cwd: Annotated[Text | None, Field(min_length=1, description="Folder it starts in.")] = None
    timeout: Annotated[
        float | None, Field(gt=0, le=3_600, description="Seconds to wait for it to answer.")
    ] = None


class McpServerConfig(BaseModel):
    """The MCP servers of a task, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: Annotated[
        dict[ServerName, McpServer], Field(alias="mcpServers", description="MCP servers by name.")
    ] = {}

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The environment values of each server."""
        return {name: dict(server.env) for name, server in self.servers.items()}

    def without_secrets(self) -> McpServerConfig:
        """The same configuration with every environment value masked."""
        masked = {
            name: server.model_copy(update={"env": dict.fromkeys(server.env, MASK)})
            for name, server in self.servers.items()
        }
        return self.model_copy(update={"servers": masked})


MASK = "***"
"""Stands where a secret was."""


class AgentTask(BaseModel):
    """One task for an agent: the parameters of an `agent-run` flow run."""

    model_config = ConfigDict(frozen=True)

    task_description: TaskDescription
    session_id: SessionId
    llm_profile_name: ProfileName | None = None
    upload_files_path: UploadPath | None = None
    mcp_server_config: McpServerConfig | None = None
    agent_mode: AgentMode = "thinking"
    max_steps: MaxSteps | None = None
    max_tokens: MaxTokens | None = None
    max_cost: MaxCost | None = None
    timeout_seconds: TimeoutSeconds | None = None
    idle_seconds: IdleSeconds | None = None
    alerts: TaskAlerts = None
