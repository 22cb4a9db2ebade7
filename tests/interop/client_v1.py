"""The main road through `mcp` 1.x: python client_v1.py stdio|http|sse COMMAND|URL

Runs in an environment of its own: tierwise's has `mcp` 2.x.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


def connect(kind: str, target: str):
    if kind == "stdio":
        return stdio_client(StdioServerParameters(command=target, env=dict(os.environ)))
    return sse_client(target) if kind == "sse" else streamable_http_client(target)


async def main(kind: str, target: str) -> None:
    async with connect(kind, target) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        tools = await session.list_tools()
        assert "chat" in [tool.name for tool in tools.tools]
        answer = await session.call_tool("chat", {"prompt": "Hello"})
        assert answer.structuredContent["model"] == "demo/small"
        analysis = await session.call_tool("analyze_complexity", {"prompt": "Hello"})
        assert analysis.structuredContent["tier"] == "simple"
        usage = await session.read_resource("usage://today")
        assert json.loads(usage.contents[0].text)["calls"] >= 1


asyncio.run(main(*sys.argv[1:]))
