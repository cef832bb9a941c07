"""Check: the Prefect server answers, and its version is one this works with."""

from __future__ import annotations

from typing import Final

import prefect
from packaging.version import Version

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Told, error, told, warning

LEAST: Final = Version("3.8.8")
"""The oldest server this was tried with."""


async def server(case: Case) -> Told:
    """Look at the Prefect server."""
    url = str(case.client.api_url)
    failure = await case.client.api_healthcheck()
    if failure is not None:
        what = f"The Prefect server at {url} does not answer ({_reason(failure)})."
        mend = (
            "Start it: `vibesurf-blocks up`, or `prefect server start` where it is your own. "
            "If it runs elsewhere: `export PREFECT_API_URL=http://HOST:4200/api`."
        )
        return told("does not answer", error(what, mend))
    text = await case.client.api_version()
    theirs, ours = Version(text), Version(prefect.__version__)
    says = f"Prefect {text} at {url}"
    if theirs < LEAST:
        what = f"The Prefect server is {text}; this package needs {LEAST} or newer."
        mend = f"pip install 'prefect>={LEAST},<4' where the server runs, and start it again"
        return told(says, error(what, mend), version=text)
    if theirs.release[:2] != ours.release[:2]:
        what = f"The Prefect server is {text}, the client here {ours}: they may not fit together."
        mend = f"pip install 'prefect=={text}' here, or '=={ours}' where the server runs"
        return told(says, warning(what, mend), version=text)
    return told(says, version=text)


def _reason(failure: Exception) -> str:
    return str(failure) or type(failure).__name__
