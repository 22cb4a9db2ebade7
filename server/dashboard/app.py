"""The page as an MCP App: what `usage_summary` is shown by in hosts that show HTML (SEP-1865).

The names are those of the specification of 2026-01-26. `mcp.server.apps` has them too, but brings the SDK's
high-level server with it, for which every start over stdio would wait.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # else a Python program that embeds the router would wait for the SDK
    from mcp.server.context import ServerRequestContext

EXTENSION = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"
URI = "ui://tierwise/usage"
DATA = "tierwise/dashboard"
"""The key of a result's `_meta` with what the page shows, which no model reads."""
PAGE_META: dict[str, Any] = {
    "ui": {"csp": {"connectDomains": [], "resourceDomains": []}, "prefersBorder": True}
}
"""Of the page: it loads nothing, and asks nobody but its host."""


def shows_apps(ctx: "ServerRequestContext[Any, Any]") -> bool:
    """Whether the client says that it shows such pages."""
    capabilities = ctx.session.client_capabilities
    settings = ((capabilities and capabilities.extensions) or {}).get(EXTENSION) or {}
    kinds = settings.get("mimeTypes")
    return isinstance(kinds, list | tuple) and MIME_TYPE in kinds
