"""Prefect blocks: what an operator configures once, in the UI or in code."""

from vibesurf_blocks.blocks.backend import VibeSurfBackend
from vibesurf_blocks.blocks.browser_settings import BrowserSettings
from vibesurf_blocks.blocks.composio import ComposioToolkits
from vibesurf_blocks.blocks.llm_profile import LLMProfile
from vibesurf_blocks.blocks.mcp_servers import MCPServers
from vibesurf_blocks.blocks.webhook import VibeSurfWebhook

__all__ = [
    "BrowserSettings",
    "ComposioToolkits",
    "LLMProfile",
    "MCPServers",
    "VibeSurfBackend",
    "VibeSurfWebhook",
]
