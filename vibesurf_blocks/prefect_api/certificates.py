"""Loads the certificate authorities once for all clients of Prefect, in a process and its forks.

Prefect parses the whole bundle anew for each client it makes, about 30 ms each time, and one flow
run makes nine of them. The contexts are equal, so they may as well be one.

The one place that knows how Prefect's client module comes by its context: through its name `ssl`.
"""

from __future__ import annotations

import ssl
from typing import Any

import certifi
from prefect.client import orchestration
from prefect.settings import PREFECT_API_SSL_CERT_FILE


class SharedContexts:
    """Stands for the module `ssl`, and hands out one default context for each bundle."""

    def __init__(self) -> None:
        """Load the bundle that Prefect's settings name now."""
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.create_default_context(cafile=PREFECT_API_SSL_CERT_FILE.value() or certifi.where())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
        """Everything else is the module's own."""
        return getattr(ssl, name)

    def create_default_context(self, *args: Any, **kwargs: Any) -> ssl.SSLContext:  # noqa: ANN401
        """Like `ssl.create_default_context`; shared where nothing but a bundle is asked for.

        Contexts without a bundle are made anew: Prefect switches verification off in them.
        """
        bundle = kwargs.get("cafile")
        if args or set(kwargs) != {"cafile"} or not isinstance(bundle, str):
            return ssl.create_default_context(*args, **kwargs)
        if bundle not in self._contexts:
            self._contexts[bundle] = ssl.create_default_context(cafile=bundle)
        return self._contexts[bundle]


def share() -> None:
    """Have all clients of Prefect made from now on share their certificates; safe to repeat."""
    if not isinstance(vars(orchestration)["ssl"], SharedContexts):
        vars(orchestration)["ssl"] = SharedContexts()
