"""Flows for the stock process worker, which is the baseline."""

from __future__ import annotations

import time

from prefect import flow


@flow(name="bench-nothing")
def nothing() -> None:
    """Do nothing."""


@flow(name="bench-endless")
def endless() -> None:
    """Go on until stopped."""
    while True:
        time.sleep(0.1)
