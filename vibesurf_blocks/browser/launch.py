"""How a session's Chromium is started: its command line, which holds no secret."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_FLAGS: Final = (
    # Nothing is asked of the net but what the agent asks for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-breakpad",
    "--no-pings",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-features=Translate,OptimizationHints,MediaRouter,InterestFeedContentSuggestions,"
    "CertificateTransparencyComponentUpdater,AutofillServerCommunication,PasswordManagerOnboarding",
    # No questions to a person who is not there.
    "--disable-notifications",
    "--disable-infobars",
    "--disable-search-engine-choice-screen",
    "--password-store=basic",
    "--use-mock-keychain",
    "--metrics-recording-only",
    # A page that nobody looks at works on all the same.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-gpu",
    "--disable-quic",
    # Small /dev/shm of containers.
    "--disable-dev-shm-usage",
)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a Chromium is started with.

    Attributes:
        executable: The program.
        headless: Whether it shows no window.
        width: Of its window, in pixels.
        height: Of its window, in pixels.
        proxy: Server of a proxy, such as `http://proxy:3128`, without credentials.
        bypass: Hosts that are reached without the proxy, separated by commas.
        rules: Value of `--host-resolver-rules`: hosts that it is not to find.
        sandbox: Whether pages run in Chromium's sandbox; None: yes, but not for root, where
            Chromium starts without it only.
    """

    executable: str
    headless: bool = True
    width: int = 1280
    height: int = 900
    proxy: str | None = None
    bypass: str | None = None
    rules: str | None = None
    sandbox: bool | None = None

    @property
    def digest(self) -> str:
        """The same for what starts the same browser."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def command(self, profile: Path) -> list[str]:
        """The command line, for a profile folder and a port that the system chooses."""
        sandbox = os.geteuid() != 0 if self.sandbox is None else self.sandbox
        command = [
            self.executable,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            f"--window-size={self.width},{self.height}",
        ]
        if self.rules:
            command.append(f"--host-resolver-rules={self.rules}")
        if self.headless:
            command += ["--headless=new", "--hide-scrollbars", "--mute-audio"]
        if not sandbox:
            command.append("--no-sandbox")
        if self.proxy:
            command.append(f"--proxy-server={self.proxy}")
            # Chromium leaves loopback out of any proxy unless told otherwise, as it should be here.
            if self.bypass:
                command.append(f"--proxy-bypass-list={self.bypass.replace(',', ';')}")
        return [*command, "about:blank"]
