"""The browser-use engine: attaches to the session's browser and takes the agent's steps."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import ValidationError

from vibesurf_blocks.browser.executable import find_executable
from vibesurf_blocks.browser.launch import Launch
from vibesurf_blocks.browser.session import Attached, lives, session_browser
from vibesurf_blocks.engines.browser_use.narration import narrated, run_log
from vibesurf_blocks.engines.browser_use.report import report, result_of
from vibesurf_blocks.engines.browser_use.secrets import Secrets, sensitive_of
from vibesurf_blocks.engines.browser_use.state import State, Taken
from vibesurf_blocks.engines.browser_use.uploads import upload_files
from vibesurf_blocks.engines.protocol import (
    Checkpoint,
    EngineContext,
    Outcome,
    Step,
    Usage,
)
from vibesurf_blocks.errors import EngineError, ModelError
from vibesurf_blocks.models import library
from vibesurf_blocks.models.clients import chat_model
from vibesurf_blocks.models.prices import cost_of, has_price

if TYPE_CHECKING:
    from vibesurf_blocks.blocks.llm_profile import LLMProfile
    from vibesurf_blocks.engines.browser_use.driver import Driver
    from vibesurf_blocks.engines.browser_use.pages import Pages

_LOOK_SECONDS = 0.2
_BACKOFFS = 2.0
_CRASHED = (
    "The browser crashed and was started again. The page was opened anew: what was typed into it "
    "is gone."
)
_RESTARTED = (
    "The browser was started again since the last step. The page was opened anew: what was typed "
    "into it is gone."
)


class BrowserUseEngine:
    """Has a model drive the session's Chromium.

    Args:
        context: The task, its profile, and what blocks give the agent.
    """

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._secrets = Secrets.of(context)
        self._state = State()
        self._used_before = Usage()
        self._opened = AsyncExitStack()
        self._driver: Driver | None = None
        self._browser: Attached | None = None
        self._attachment = AsyncExitStack()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint was taken.

        Raises:
            EngineError: It is none of this engine's.
        """
        try:
            self._state = State.model_validate(checkpoint)
        except ValidationError as error:
            msg = "The checkpoint was not made by this version of the engine; run the task anew."
            raise EngineError(msg) from error
        self._used_before = self._state.usage

    async def open(self) -> None:
        """Attach to the session's browser, start the MCP servers, and make the agent.

        Raises:
            EngineError: No browser can be started, the profile cannot be used, a server does not
                answer, or a budget cannot be kept.
        """
        context, settings = self._context, self._context.settings
        profile = self._profile
        log = run_log(context.task_id)
        self._opened.enter_context(narrated(log, self._secrets))
        library.prepare(settings)
        # Seconds where nothing has imported it yet, during which commands are still heard.
        model = await asyncio.to_thread(chat_model, profile, settings=settings)
        self._check_budget(profile)
        from vibesurf_blocks.engines.browser_use import driver, tools  # noqa: PLC0415

        context.files.mkdir(parents=True, exist_ok=True, mode=0o700)
        answer_seconds = settings.model_timeout_seconds * settings.model_attempts * _BACKOFFS
        given = await self._opened.enter_async_context(
            tools.tools(context.tools, settings, context.files, self._secrets, answer_seconds)
        )
        pages = await self._attach(known=self._state.browser)
        state = self._state
        self._driver = driver.Driver(
            task=context.task.task_description,
            instructions=state.instructions,
            mode=context.task.agent_mode,
            model=model,
            vision=profile.vision,
            pages=pages,
            tools=given,
            sensitive=sensitive_of(context),
            secrets=self._secrets,
            uploads=upload_files(context),
            folder=context.files,
            state=state.agent,
            output=state.output,
            max_steps=context.max_steps,
            answer_seconds=answer_seconds,
            log=log,
        )
        if not state.taken:
            await pages.only_one_tab()
        elif self._browser is not None and self._browser.address != state.browser:
            await self._reopen(_RESTARTED)
        self._note_browser()

    async def step(self) -> Step:
        """Have the agent look at the page, ask the model, and do what it says.

        Raises:
            EngineError: The model refuses, or too many steps failed one after another.
        """
        driver = self._open_driver
        from vibesurf_blocks.engines.browser_use.driver import FAILURES, RefusedError  # noqa: PLC0415

        try:
            taken = await self._unless_browser_ends(driver)
        except RefusedError as error:
            said = self._secrets.hide(str(error))
            msg = f"The model of profile {self._context.task.llm_profile_name!r} refuses: {said}"
            raise ModelError(msg) from None
        if taken is None:
            taken = await self._after_crash(driver)
        picture = await self._picture(driver, taken)
        # From here on nothing is awaited: a step counts wholly or not at all.
        state = self._state
        state.taken.append(Taken.model_validate(self._secrets.hide_all(taken.model_dump())))
        state.usage = self._usage(driver)
        state.agent, state.output = driver.state
        state.files = driver.files
        ending = driver.ending
        if ending is not None:
            state.finished = True
            state.success, answer = ending
            state.result = self._secrets.hide(answer)
        state.progress = self._progress(driver)
        if ending is None and driver.failures > FAILURES:
            reason = state.taken[-1].error or state.taken[-1].name
            state.gave_up = f"{driver.failures} steps in a row failed. The last one: {reason}"
            raise EngineError(state.gave_up)
        shown = state.taken[-1]
        return Step(
            name=shown.name,
            progress=state.progress,
            done=state.finished,
            ok=shown.ok and state.success is not False,
            picture=picture,
            usage=state.usage,
        )

    async def instruct(self, instruction: str) -> None:
        """Add to the task; the next step's prompt has it."""
        self._state.instructions.append(instruction)
        self._state.finished = False
        self._state.progress = min(self._state.progress, 0.9)
        if self._driver is not None:
            self._driver.instruct(instruction)

    def checkpoint(self) -> Checkpoint:
        """The state after the last finished step, without any secret."""
        return self._secrets.hide_all(self._state.model_dump(mode="json"))  # type: ignore[return-value]

    def outcome(self) -> Outcome:
        """The answer so far, and the story of the run with its pictures."""
        state = State.model_validate(self._secrets.hide_all(self._state.model_dump(mode="json")))
        result, error = result_of(state)
        task = self._secrets.hide(self._context.task.task_description)
        return Outcome(result=result, report=report(self._context, task, state), error=error)

    async def close(self) -> None:
        """End what was started for this run, and leave the browser as it is."""
        self._driver = None
        await self._attachment.aclose()
        await self._opened.aclose()

    @property
    def _profile(self) -> LLMProfile:
        profile = self._context.profile
        if profile is None:
            msg = f"No LLM profile is named {self._context.task.llm_profile_name!r}."
            raise ModelError(msg)
        return profile

    @property
    def _open_driver(self) -> Driver:
        assert self._driver is not None  # noqa: S101 - the protocol opens first
        return self._driver

    def _check_budget(self, profile: LLMProfile) -> None:
        wanted = self._context.task.max_cost or self._context.settings.max_cost
        if wanted is not None and not has_price(profile):
            msg = (
                f"max_cost cannot be kept: the price of {profile.model!r} is not known. Name it in "
                "the profile's block (input_price and output_price), or leave max_cost out."
            )
            raise ModelError(msg)

    async def _attach(self, known: str | None) -> Pages:
        """Attach to the session's browser, starting it where there is none."""
        from vibesurf_blocks.engines.browser_use.pages import Pages  # noqa: PLC0415

        context, settings = self._context, self._context.settings
        wanted = context.tools.browser
        launch = Launch(
            executable=str(find_executable(settings.browser_executable or wanted.executable)),
            headless=wanted.headless,
            width=wanted.viewport_width,
            height=wanted.viewport_height,
            proxy=wanted.proxy,
            rules=settings.sites.resolver_rules(*_proxy_host(wanted.proxy)),
            sandbox=wanted.sandbox,
        )
        await self._attachment.aclose()
        self._attachment = AsyncExitStack()
        self._browser = await self._attachment.enter_async_context(
            session_browser(
                context.session_dir,
                launch,
                idle_seconds=settings.browser_idle_seconds,
                start_seconds=settings.browser_start_seconds,
                known=known,
            )
        )
        downloads = context.session_dir / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        pages = Pages.of(
            self._browser.address,
            wanted,
            context.files,
            downloads,
            self._secrets,
            settings.browser_page_seconds,
            settings.sites,
        )
        self._attachment.push_async_callback(pages.detach)
        try:
            async with asyncio.timeout(settings.browser_start_seconds):
                await pages.start()
        except Exception as error:
            msg = f"The session's browser cannot be attached to: {error}"
            raise EngineError(msg) from error
        return pages

    async def _unless_browser_ends(self, driver: Driver) -> Taken | None:
        """Take a step; None where the browser ended under it."""
        assert self._browser is not None  # noqa: S101 - attached by `open`
        step = asyncio.create_task(driver.step())
        try:
            while not step.done():
                await asyncio.wait({step}, timeout=_LOOK_SECONDS)
                if not lives(self._browser.pid):
                    return None
            return step.result()
        finally:
            step.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await step

    async def _after_crash(self, driver: Driver) -> Taken:
        """Go on in a new browser, at the page that the last step left."""
        driver.pages = await self._attach(known=None)
        await self._reopen(_CRASHED)
        self._note_browser()
        return Taken(
            number=len(self._state.taken) + 1,
            name="The browser crashed and was started again",
            ok=False,
            error=_CRASHED,
        )

    async def _reopen(self, message: str) -> None:
        driver = self._open_driver
        url = next((one.url for one in reversed(self._state.taken) if one.url), "")
        if url.startswith(("http://", "https://")):
            await driver.pages.go_to(url)
        driver.tell(message)

    def _note_browser(self) -> None:
        self._state.browser = self._browser.address if self._browser is not None else None

    async def _picture(self, driver: Driver, taken: Taken) -> Path | None:
        # A page that does not even say where it is cannot be taken a picture of.
        data = await driver.pages.picture() if taken.url else None
        if data is None:
            return None
        path = self._context.files / f"step-{taken.number}.jpg"
        try:
            path.write_bytes(data)
        except OSError as error:  # a full disk: the checkpoint decides whether the run can go on
            run_log(self._context.task_id).warning("No picture of this step is kept: %s", error)
            return None
        taken.picture = path.name
        return path

    def _usage(self, driver: Driver) -> Usage:
        profile = self._profile
        before = self._used_before
        cost = cost_of(profile, driver.usage)
        return Usage(
            input_tokens=before.input_tokens + sum(one.prompt_tokens for one in driver.usage),
            output_tokens=before.output_tokens + sum(one.completion_tokens for one in driver.usage),
            cost=None if cost is None else round((before.cost or 0.0) + cost, 8),
        )

    def _progress(self, driver: Driver) -> float:
        if self._state.finished:
            return 1.0
        # Without a plan nobody knows how long it will take: it only ever comes nearer.
        steps = len(self._state.taken)
        share = driver.plan if driver.plan is not None else steps / (steps + 6)
        return max(self._state.progress, min(0.95, round(share, 4)))


def _proxy_host(proxy: str | None) -> tuple[str, ...]:
    host = urlsplit(proxy).hostname if proxy else None
    return (host,) if host else ()
