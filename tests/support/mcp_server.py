"""A small MCP server over stdio, started as `python -m tests.support.mcp_server`.

`MCP_TEST_HANG` makes it never answer, `MCP_TEST_FAIL` end with a complaint. It writes its process
id into the file that `MCP_TEST_PID` names.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("stock")


@server.tool()
def stock(item: str) -> str:
    """How many of an item are in stock."""
    return f"{len(item)} of {item} in {Path.cwd().name}, by {os.environ.get('STOCK_TOKEN', '?')}"


@server.tool()
def never(item: str) -> str:
    """Takes for ever."""
    time.sleep(3_600)  # what a tool that hangs does
    return item


if __name__ == "__main__":
    if pid := os.environ.get("MCP_TEST_PID"):
        Path(pid).write_text(str(os.getpid()))
    if os.environ.get("MCP_TEST_FAIL"):
        sys.exit(f"no database, said {os.environ.get('STOCK_TOKEN')}")
    if os.environ.get("MCP_TEST_HANG"):
        time.sleep(3_600)
    server.run()
