"""Prefect's clients compare their version with the server's; here one does it for all."""

from typing import Final

CHECKED: Final = {"PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false"}
"""For the environment of processes whose parent has compared the versions already."""
