"""What people see of the blocks in the Prefect UI beside their fields: logo and documentation.

Prefect takes the logo of a block type as an http address. So that none has to come from the net,
the logos lie in this package and the REST API serves them.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from pydantic import HttpUrl

from vibesurf_blocks.settings import Settings

DOCUMENTATION: Final = HttpUrl("https://pypi.org/project/vibesurf-blocks/")

LOGO_PATH: Final = "/logos"
"""Where the REST API serves the logos."""


class Logo:
    """The address of a block type's logo: on the API, wherever the settings say that it is."""

    def __init__(self, name: str) -> None:
        """Take the logo of this name, without `.png`."""
        self._name = name

    def __get__(self, block: object, kind: type | None = None) -> HttpUrl | None:
        """The address, asked for when the block type is registered."""
        return HttpUrl(f"{Settings().client_url}{LOGO_PATH}/{self._name}.png")


def logo(name: str) -> bytes | None:
    """The PNG of this name, without `.png`; None where there is none."""
    for file in (files("vibesurf_blocks") / "blocks" / "logos").iterdir():
        if file.name == f"{name}.png":
            return file.read_bytes()
    return None
