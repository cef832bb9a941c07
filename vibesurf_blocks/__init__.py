"""Prefect plugin that runs browser agents: blocks, engines, worker, mirror, tables and API."""

from importlib.metadata import version as _version

__version__ = _version("vibesurf-blocks")

_BLOCKS = (
    "BrowserSettings",
    "ComposioToolkits",
    "LLMProfile",
    "MCPServers",
    "VibeSurfBackend",
    "VibeSurfWebhook",
)

__all__ = ["__version__"]


def __getattr__(name: str) -> object:
    """The blocks, for `prefect block register -m vibesurf_blocks`; imported when asked for."""
    if name in _BLOCKS:
        from vibesurf_blocks import blocks  # noqa: PLC0415 - importing Prefect takes seconds

        return getattr(blocks, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *_BLOCKS})
