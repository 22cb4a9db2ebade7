"""What the MCP SDK costs by itself: its default server with five tools that do nothing."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
def chat(prompt: str) -> str:
    """Answer a prompt."""
    return prompt


@server.tool()
def analyze_complexity(prompt: str) -> str:
    """Judge a prompt."""
    return prompt


@server.tool()
def usage_summary(days: int = 30) -> str:
    """Sum up what was used."""
    return str(days)


@server.tool()
def today_usage() -> str:
    """Sum up what was used today."""
    return ""


@server.tool()
def list_models() -> str:
    """List the models."""
    return ""


if __name__ == "__main__":
    server.run()
