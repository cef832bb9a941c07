"""Every setting of the project, with its unit and default; the one reader of `VIBESURF_*`."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vibesurf_blocks.addresses import client_host, is_loopback, url_of
from vibesurf_blocks.alerts.rules import Occasion
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.sites import SiteList, Sites

POOL_DEFAULT = "vibesurf"

_PREFIX: Final = "VIBESURF_"

TOKEN_LENGTH: Final = 16
"""Characters of an API token at the least."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(\*|[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?)"
)
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9._-]+|[0-9a-fA-F:]+")


class Settings(BaseSettings):
    """Settings, each read from the environment variable `VIBESURF_<NAME>`.

    Instances are values: build one where a part starts and hand it on.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    home: Annotated[Path, Field(description="Folder that holds everything the stack writes.")] = (
        Path("~/.vibesurf-blocks")
    )
    workspace: Annotated[
        Path | None, Field(description="Folder of the sessions; by default `<home>/workspace`.")
    ] = None
    database_url: Annotated[
        str | None,
        Field(
            description="SQLAlchemy URL of the tables: SQLite, PostgreSQL or MySQL/MariaDB; by "
            "default SQLite in `<home>/vibesurf.db`. A URL without a driver gets the async one."
        ),
    ] = None
    database_pool_size: Annotated[
        int,
        Field(ge=1, description="Connections to the tables that API and mirror each keep open."),
    ] = 5
    database_pool_overflow: Annotated[
        int,
        Field(ge=0, description="Connections that each may open beside those while all are taken."),
    ] = 10
    database_pool_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds to wait for a free connection, or for SQLite's one writer, before "
            "a request is answered with 503.",
        ),
    ] = 30.0
    database_recycle_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds after which a connection is replaced before its next use; less "
            "than the time after which the server or a firewall drops idle ones.",
        ),
    ] = 1800.0
    database_ping: Annotated[
        bool,
        Field(
            description="Whether a connection is tried before each use, so that one the server has "
            "closed costs no request. Not on SQLite, which has no server."
        ),
    ] = True
    pool: Annotated[str, Field(description="Name of the Prefect work pool.", min_length=1)] = (
        POOL_DEFAULT
    )
    slots: Annotated[
        int,
        Field(
            ge=1,
            description="Agents that may run at once in the workspace where no work pool says it: "
            "runs of a worker go by their pool's concurrency limit.",
        ),
    ] = 1
    host: Annotated[str, Field(description="Address the API listens on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="Port of the API.")] = 9335
    api_token: Annotated[
        SecretStr | None,
        Field(
            description="Token that the API asks for and the command line sends, at least "
            f"{TOKEN_LENGTH} characters. On any but a loopback address the API does not start "
            "without one."
        ),
    ] = None
    api_token_file: Annotated[
        Path | None, Field(description="File that holds the token instead, such as a secret mount.")
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Names under which clients reach the API beside its own address, separated "
            "by commas: `agents.example.org`, `*.example.org`. Others are refused on loopback, and "
            "anywhere once one is named here."
        ),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Origins of pages that may use the API from a browser, separated by "
            "commas: `https://app.example.org`, or a browser extension, `chrome-extension://` and "
            "its id, or `*` for any."
        ),
    ] = ("chrome-extension://*", "moz-extension://*")
    rate_limit: Annotated[
        float,
        Field(
            ge=0,
            description="Requests a second, of those that change something, that one client may "
            "send for long; `0` for any number.",
        ),
    ] = 100.0
    rate_burst: Annotated[
        int, Field(ge=1, description="Such requests that it may send at once after a pause.")
    ] = 500
    event_streams: Annotated[
        int, Field(ge=1, description="Streams of events that are open at once at the most.")
    ] = 500
    connections: Annotated[
        int, Field(ge=1, description="Connections to the API at once at the most.")
    ] = 1_000
    api_url: Annotated[
        str | None,
        Field(description="Where the command line finds the API; by default host and port."),
    ] = None
    prefect_port: Annotated[
        int, Field(ge=1, le=65535, description="Port of the Prefect server that `up` starts.")
    ] = 4200
    prefect_host: Annotated[
        str,
        Field(
            description="Address that server listens on. On any but a loopback address it starts "
            "with Prefect's own `PREFECT_SERVER_API_AUTH_STRING` only."
        ),
    ] = "127.0.0.1"
    prefect_database: Annotated[
        str,
        Field(
            description="Database of the Prefect server that `up` starts: `postgres` (embedded), "
            "`sqlite`, or a SQLAlchemy URL."
        ),
    ] = "postgres"
    log_format: Annotated[
        Literal["text", "json"], Field(description="Format of the parts' logs.")
    ] = "text"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="Least level logged.")
    ] = "INFO"
    metrics_port: Annotated[
        int | None,
        Field(
            ge=1,
            le=65535,
            description="Port at which a mirror or a worker of its own shows its metrics; by "
            "default none. Under `up` the API shows them all.",
        ),
    ] = None
    metrics_host: Annotated[
        str,
        Field(
            description="Address of that port. Whoever reaches it reads the metrics: no token is "
            "asked for."
        ),
    ] = "127.0.0.1"
    metrics_dir: Annotated[
        Path | None,
        Field(
            description="Folder into which a mirror and a worker write their metrics and from "
            "which the API passes them on; by default none, under `up` `<home>/metrics`."
        ),
    ] = None
    request_timeout: Annotated[
        float, Field(gt=0, description="Seconds one HTTP request of an engine may take.")
    ] = 20.0
    request_attempts: Annotated[
        int, Field(ge=1, le=10, description="Times an engine tries one HTTP request.")
    ] = 3
    model_timeout_seconds: Annotated[
        float, Field(gt=0, description="Seconds one request to a model may take.")
    ] = 120.0
    model_attempts: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="Times one request to a model is tried, with growing pauses between.",
        ),
    ] = 4
    model_check_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=60,
            description="Seconds a model has to answer the question that a submit asks it first.",
        ),
    ] = 7.0
    model_check_keep_seconds: Annotated[
        float,
        Field(
            ge=0,
            description="Seconds for which a good answer to that question counts, unless the "
            "profile is saved meanwhile.",
        ),
    ] = 300.0
    browser_executable: Annotated[
        str | None,
        Field(
            description="Chromium or a browser made from it; by default the one of the Browser "
            "Settings block, else one that is found."
        ),
    ] = None
    browser_idle_seconds: Annotated[
        float,
        Field(ge=0, description="Seconds a session's browser is kept while no run uses it."),
    ] = 300.0
    browser_start_seconds: Annotated[
        float, Field(gt=0, description="Seconds a browser may take to start.")
    ] = 30.0
    browser_page_seconds: Annotated[
        float, Field(gt=0, description="Seconds a page may take to open.")
    ] = 30.0
    browser_action_seconds: Annotated[
        float, Field(gt=0, description="Seconds one action of an agent on a page may take.")
    ] = 60.0
    tool_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds an MCP server may take to start, and one call of a tool, where "
            "the server's configuration has no `timeout`.",
        ),
    ] = 30.0
    sites_allowed: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Hosts that agents may fetch from, separated by commas: names, "
            "`*.example.org`, addresses, networks such as `10.0.0.0/8`, `loopback`, `private`; by "
            "default all but link-local addresses and clouds' metadata services, which have to be "
            "named, the latter each by its own address. `*` and an address allow that one too."
        ),
    ] = ()
    sites_denied: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Hosts that agents may not fetch from, written likewise, whatever is "
            "allowed: `loopback,private` keeps them out of the operator's own network."
        ),
    ] = ()
    page_bytes: Annotated[
        int, Field(ge=1024, description="Bytes of one page that are read at the most.")
    ] = 5_000_000
    max_steps: Annotated[
        int, Field(ge=1, description="Steps one agent run may take at the most.")
    ] = 100
    max_tokens: Annotated[
        int | None,
        Field(
            ge=1, description="Tokens one agent run may use of its model; by default any number."
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        Field(
            gt=0,
            description="US dollars one agent run may cost; by default any sum. The profile has to "
            "name the model's prices.",
        ),
    ] = None
    timeout_seconds: Annotated[
        float, Field(gt=0, description="Seconds one agent run may work at the most, pauses apart.")
    ] = 3600.0
    idle_seconds: Annotated[
        float, Field(gt=0, description="Seconds one step may take before the run is ended.")
    ] = 600.0
    ack_seconds: Annotated[
        float,
        Field(gt=0, description="Seconds the API waits for an agent to do what was asked of it."),
    ] = 30.0
    reconcile_seconds: Annotated[
        float, Field(gt=0, description="Seconds between two reconciliations of the mirror.")
    ] = 5.0
    poll_seconds: Annotated[
        float, Field(gt=0, description="Seconds between two polls of a worker that no event wakes.")
    ] = 5.0

    silence_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds without a sign of life after which a run that was started without "
            "a worker is taken for dead and ended as failed.",
        ),
    ] = 60.0
    timezone: Annotated[
        str | None,
        Field(
            description="Time zone of schedules that name none (IANA); by default the machine's."
        ),
    ] = None
    schedule_seconds: Annotated[
        float, Field(ge=0, description="Seconds between two occurrences of a cron at the least.")
    ] = 30.0
    missed_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="Seconds after which an occurrence that fell due while nothing ran counts "
            "as missed, not as late.",
        ),
    ] = 30.0
    schedule_poll_seconds: Annotated[
        float, Field(gt=0, description="Seconds between two looks at the deployments' schedules.")
    ] = 0.4

    alert_webhook: Annotated[
        str | None,
        Field(description="Name of the VibeSurf Webhook block that is told of runs by default."),
    ] = None
    alert_blocks: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Prefect notification blocks that are told by default, by automations that "
            "the first start makes: `type/name`, separated by commas."
        ),
    ] = ()
    alert_on: Annotated[
        tuple[Occasion, ...],
        NoDecode,
        Field(
            description="What is told of by default, separated by commas: `completed`, `failed`, "
            "`stopped`, `skipped`, `waiting`, `step-failed`."
        ),
    ] = (Occasion.FAILED, Occasion.SKIPPED, Occasion.WAITING, Occasion.STEP_FAILED)
    alert_wait_seconds: Annotated[
        float,
        Field(gt=0, description="Seconds a due run may wait for its slot before that is told of."),
    ] = 300.0

    @field_validator(
        *("alert_blocks", "alert_on", "allowed_hosts", "allowed_origins"),
        *("sites_allowed", "sites_denied"),
        mode="before",
    )
    @classmethod
    def _separated(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [one.strip() for one in value.split(",") if one.strip()]

    @field_validator("api_token")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_token(value.get_secret_value())
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not _HOST_NAME.fullmatch(one):
                msg = f"{one!r} must be a host name without a port, such as agents.example.org"
                raise ValueError(msg)
        return tuple(one.lower() for one in value)

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not _ORIGIN.fullmatch(one) or one in {"http://*", "https://*"}:
                msg = f"{one!r} must be an origin, such as https://app.example.org:8443"
                raise ValueError(msg)
        return value

    @field_validator("sites_allowed", "sites_denied")
    @classmethod
    def _sites(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        SiteList.of(value)
        return value

    @field_validator("home", "workspace", "metrics_dir", "api_token_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @staticmethod
    def here() -> Settings:
        """The settings of this process's environment, read once for as long as it is the same."""
        environment = os.environ.items()
        return _read(frozenset(one for one in environment if one[0].upper().startswith(_PREFIX)))

    @property
    def sites(self) -> Sites:
        """What agents may fetch."""
        return Sites.of(self.sites_allowed, self.sites_denied)

    @property
    def home_dir(self) -> Path:
        """Absolute path of the home folder."""
        return self.home.expanduser().absolute()

    @property
    def workspace_dir(self) -> Path:
        """Absolute path of the folder that holds the sessions."""
        return self.workspace or self.home_dir / "workspace"

    @property
    def parents_pool(self) -> str:
        """Name of the work pool of batches and workflows, which hold no slot themselves."""
        return f"{self.pool}-batches"

    @property
    def alerts_pool(self) -> str:
        """Name of the work pool of alerts, which batches that run keep from nobody."""
        return f"{self.pool}-alerts"

    @property
    def pools(self) -> tuple[str, str, str]:
        """All work pools, that of the agents first; a worker of that one serves the others too."""
        return self.pool, self.parents_pool, self.alerts_pool

    @property
    def tables_url(self) -> str:
        """URL of the tables as the user gave it, or the default SQLite file."""
        return self.database_url or f"sqlite:///{self.home_dir / 'vibesurf.db'}"

    @property
    def token(self) -> str | None:
        """The token of the API, None where it asks for none.

        Raises:
            StackError: Its file cannot be read or holds none.
        """
        if self.api_token is not None:
            return self.api_token.get_secret_value()
        if self.api_token_file is None:
            return None
        try:
            token = self.api_token_file.read_text(encoding="utf-8").strip()
            _check_token(token)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            msg = f"VIBESURF_API_TOKEN_FILE {self.api_token_file}: {reason}"
            raise StackError(msg) from None
        return token

    @property
    def client_url(self) -> str:
        """Base URL at which clients reach the API."""
        return (self.api_url or url_of(client_host(self.host), self.port)).rstrip("/")

    @property
    def guarded_token(self) -> str | None:
        """The token that the API asks for where it listens, None for none on loopback.

        Raises:
            StackError: It would listen where others reach it, without a token.
        """
        token = self.token
        if token is None and not is_loopback(self.host):
            msg = (
                f"The API would listen on {self.host}, where other machines reach it, without a "
                "token. Set VIBESURF_API_TOKEN (for instance to the output of `openssl rand -hex "
                "32`) or VIBESURF_API_TOKEN_FILE, or listen on 127.0.0.1."
            )
            raise StackError(msg)
        return token


def _check_token(token: str) -> None:
    if len(token) < TOKEN_LENGTH or not _TOKEN.fullmatch(token):
        msg = (
            f"the token must have at least {TOKEN_LENGTH} characters, of letters, digits and "
            "-._~+/= only"
        )
        raise ValueError(msg)


@lru_cache(maxsize=1)
def _read(_given: frozenset[tuple[str, str]]) -> Settings:
    return Settings()
