"""What Prefect loads of this package at its start: the worker type `vibesurf` and the blocks."""

from vibesurf_blocks.blocks import (
    BrowserSettings,
    ComposioToolkits,
    LLMProfile,
    MCPServers,
    VibeSurfBackend,
    VibeSurfWebhook,
)
from vibesurf_blocks.worker.worker import VibesurfWorker

__all__ = [
    "BrowserSettings",
    "ComposioToolkits",
    "LLMProfile",
    "MCPServers",
    "VibeSurfBackend",
    "VibeSurfWebhook",
    "VibesurfWorker",
]
