"""The MCP server: tools, resources and prompts on the SDK's low-level server, in both protocol eras."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from tierwise.routing.engine import Engine
from tierwise.server import completion, prompts, resources
from tierwise.server.dashboard import app
from tierwise.server.logs import redactor
from tierwise.server.retention import prune_daily
from tierwise.server.settings import Settings
from tierwise.server.subscriptions import Subscriptions
from tierwise.server.tools.analysis import ANALYZE_COMPLEXITY
from tierwise.server.tools.base import Tool, ToolContext
from tierwise.server.tools.chat import CHAT, CHAT_RESULT
from tierwise.server.tools.feedback import RATE_ANSWER
from tierwise.server.tools.models import LIST_MODELS
from tierwise.server.tools.usage import TODAY_USAGE, USAGE_SUMMARY
from tierwise.storage.errors import TierwiseError

_log = logging.getLogger(__name__)

TOOLS: dict[str, Tool[Any]] = {
    tool.name: tool
    for tool in (CHAT, CHAT_RESULT, ANALYZE_COMPLEXITY, USAGE_SUMMARY, TODAY_USAGE, LIST_MODELS, RATE_ANSWER)
}

_INSTRUCTIONS = (
    "Sends each prompt to the cheapest model that will answer it well. Use chat to ask, analyze_complexity"
    " to see where a prompt would go and at what cost, usage_summary and today_usage for what was spent."
)

_UNEXPECTED = "tierwise itself failed on this; its log on stderr says how. Please report it."

T = TypeVar("T")
RequestContext = ServerRequestContext[Any, Any]


@asynccontextmanager
async def open_server(engine: Engine, settings: Settings) -> AsyncGenerator[Server[Any]]:
    """An MCP server on `engine`; any number of connections may share it."""
    subscriptions = Subscriptions()
    engine.listeners.append(subscriptions.on_recorded)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(subscriptions.notify_forever)
        tasks.start_soon(prune_daily, engine.store, settings.usage_tracking)
        handlers = _Handlers(engine, settings, lambda: tasks.start_soon(engine.load_ahead))
        server: Server[Any] = Server(
            **_identity(),
            get_tool_input_schema=handlers.input_schema,
            on_list_tools=handlers.list_tools,
            on_call_tool=handlers.call_tool,
            on_list_resources=handlers.list_resources,
            on_list_resource_templates=handlers.list_resource_templates,
            on_read_resource=handlers.read_resource,
            on_list_prompts=handlers.list_prompts,
            on_get_prompt=handlers.get_prompt,
            on_completion=handlers.complete,
            on_subscribe_resource=subscriptions.subscribe,
            on_unsubscribe_resource=subscriptions.unsubscribe,
            on_subscriptions_listen=subscriptions.listen,
        )
        server.extensions[app.EXTENSION] = {}
        yield server
        tasks.cancel_scope.cancel()


def broken_server(reason: str) -> Server[Any]:
    """A server whose every tool call answers with the `reason` that kept the real one from starting."""

    async def list_tools(
        ctx: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.declaration for tool in TOOLS.values()])

    async def call_tool(ctx: RequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        return _failure(f"tierwise could not start. {reason}")

    return Server(**_identity(), on_list_tools=list_tools, on_call_tool=call_tool)


def _identity() -> dict[str, Any]:
    return {
        "name": "tierwise",
        "version": version("tierwise"),
        "title": "Tierwise",
        "description": "Routes prompts to the cheapest model that will answer them well",
        "instructions": _INSTRUCTIONS,
    }


def _failure(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def full_tools() -> dict[str, Tool[Any]]:
    from tierwise.server.tools.full import MORE_TOOLS

    return TOOLS | MORE_TOOLS


class _Handlers:
    """The request handlers of one server."""

    def __init__(self, engine: Engine, settings: Settings, load_ahead: Callable[[], object]) -> None:
        self._engine = engine
        self._settings = settings
        self._load_ahead = load_ahead
        self._loading = False
        self._redact = redactor(engine.environ, settings)
        self._tools = full_tools() if settings.server.toolset == "full" else TOOLS

    def input_schema(self, name: str) -> dict[str, Any] | None:
        tool = self._tools.get(name)
        return tool and tool.declaration.input_schema

    async def list_tools(
        self, ctx: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        # A client that lists the tools means to use them: what a first chat would wait for can start.
        if not self._loading:
            self._loading = True
            self._load_ahead()
        if app.shows_apps(ctx):
            declared = [tool.declaration_with_app() for tool in self._tools.values()]
        else:
            declared = [tool.declaration for tool in self._tools.values()]
        return types.ListToolsResult(tools=declared)

    async def call_tool(
        self, ctx: RequestContext, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            known = ", ".join(self._tools)
            hidden = " It is in the full toolset: set server.toolset." if params.name in full_tools() else ""
            raise MCPError(
                types.INVALID_PARAMS, f"There is no tool {params.name[:100]!r}. Known: {known}.{hidden}"
            )
        try:
            return await tool.call(self._context(ctx), params.arguments or {})
        except TierwiseError as error:
            return _failure(self._redact(str(error)))
        except Exception:  # noqa: BLE001  the SDK would send the text of whatever it is, and of what it holds
            _log.exception("The tool %s failed in an unexpected way", tool.name)
            return _failure(_UNEXPECTED)

    async def list_resources(
        self, ctx: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=resources.listed())

    async def list_resource_templates(
        self, ctx: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=resources.templates())

    async def read_resource(
        self, ctx: RequestContext, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        contents = await self._guarded(resources.read(self._context(ctx), params.uri))
        return types.ReadResourceResult(contents=[contents])

    async def list_prompts(
        self, ctx: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[prompt.declaration for prompt in prompts.PROMPTS.values()])

    async def get_prompt(
        self, ctx: RequestContext, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        return await self._guarded(prompts.filled_in(self._context(ctx), params.name, params.arguments or {}))

    async def complete(
        self, ctx: RequestContext, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        found = await self._guarded(completion.complete(self._context(ctx), params))
        return types.CompleteResult(completion=found)

    async def _guarded(self, answer: Awaitable[T]) -> T:
        """The answer, or an error that says no more than it may."""
        try:
            return await answer
        except TierwiseError as error:
            raise MCPError(types.INTERNAL_ERROR, self._redact(str(error))) from None
        except MCPError:
            raise
        except Exception:  # noqa: BLE001  as above
            _log.exception("A request failed in an unexpected way")
            raise MCPError(types.INTERNAL_ERROR, _UNEXPECTED) from None

    def _context(self, ctx: RequestContext) -> ToolContext:
        return ToolContext(self._engine, self._settings, _progress_reporter(ctx), app.shows_apps(ctx))


def _progress_reporter(ctx: RequestContext) -> Callable[[float, str], Awaitable[None]] | None:
    if not ctx.meta or "progress_token" not in ctx.meta:
        return None

    async def report(seconds: float, text: str) -> None:
        await ctx.session.report_progress(seconds, None, text or None)

    return report
