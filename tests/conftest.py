"""What tests of every folder may ask for: one running stack, and a web site for its agents."""

import os

from hypothesis import settings

from tests.support.databases import drop_all
from tests.support.fixtures import api, live_stack, prefect, site, stack, store
from vibesurf_blocks.prefect_api import certificates

# Read when browser-use is imported, which some tests do by themselves: none calls home.
os.environ.setdefault("ANONYMIZED_TELEMETRY", "false")
# Each test has clients of its own; loading the certificates for each would take a minute of all.
certificates.share()
# How long an example takes says more of what else the machine does.
settings.register_profile("no deadlines", deadline=None)
settings.load_profile("no deadlines")

__all__ = ["api", "live_stack", "prefect", "site", "stack", "store"]


def pytest_sessionfinish() -> None:
    """Drop the databases of stacks; the stacks themselves have ended by now."""
    drop_all()
