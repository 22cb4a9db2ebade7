"""The MCP resources: usage, models and routing rules, for whoever reads instead of calling."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Resource, ResourceTemplate, TextResourceContents
from pydantic import BaseModel, TypeAdapter

from tierwise.routing.errors import InvalidRequest
from tierwise.server import budgets, usage
from tierwise.server.tools.analysis import RoutingRule, routing_rules
from tierwise.server.tools.base import ToolContext
from tierwise.server.tools.models import model_list

_MIME_TYPE = "application/json"
_RULES = TypeAdapter(dict[str, RoutingRule])


@dataclass(frozen=True, slots=True)
class FixedResource:
    """A resource with an address of its own."""

    uri: str
    title: str
    description: str
    read: Callable[[ToolContext], Awaitable[str]]


async def _today(context: ToolContext) -> str:
    return _json(await usage.today_usage(context.engine.store, context.settings.usage_tracking.time_zone))


async def _models(context: ToolContext) -> str:
    return _json(await model_list(context))


async def _rules(context: ToolContext) -> str:
    return _RULES.dump_json(await routing_rules(context)).decode()


FIXED = {
    resource.uri: resource
    for resource in (
        FixedResource("usage://today", "Usage today", "Calls, tokens and cost since local midnight", _today),
        FixedResource(
            "models://list", "Models", "Each usable model with tiers, price and capabilities", _models
        ),
        FixedResource("routing://rules", "Routing rules", "Each tier with its models and scores", _rules),
    )
}

SUMMARY_PREFIX = "usage://summary/"
TEMPLATES = [
    ResourceTemplate(
        uri_template=SUMMARY_PREFIX + "{days}",
        name="usage_summary",
        title="Usage over days",
        description="Calls, tokens, cost and savings of the last days, such as usage://summary/30",
        mime_type=_MIME_TYPE,
    ),
    budgets.TEMPLATE,
]


def listed() -> list[Resource]:
    """The resources as `resources/list` shows them."""
    return [
        Resource(
            uri=item.uri, name=item.uri, title=item.title, description=item.description, mime_type=_MIME_TYPE
        )
        for item in FIXED.values()
    ]


async def read(context: ToolContext, uri: str) -> TextResourceContents:
    """The contents of the resource at `uri`.

    Raises:
        MCPError: -32602, with a sentence, where there is no such resource or a parameter is wrong.
    """
    check_known(uri)
    if uri in FIXED:
        text = await FIXED[uri].read(context)
    elif uri.startswith(budgets.PREFIX):
        text = _json(await budgets.budget_list(context.engine.store, context.engine.spending, _scope(uri)))
    else:
        zone = context.settings.usage_tracking.time_zone
        text = _json(await usage.usage_summary(context.engine.store, _days(uri), zone))
    return TextResourceContents(uri=uri, text=text, mime_type=_MIME_TYPE)


def check_known(uri: str) -> None:
    """Raise `MCPError`, -32602, where there is no resource at `uri`."""
    if uri in FIXED:
        return
    if uri.startswith(SUMMARY_PREFIX):
        _days(uri)
        return
    if uri.startswith(budgets.PREFIX):
        _scope(uri)
        return
    known = ", ".join([*FIXED, *(template.uri_template for template in TEMPLATES)])
    message = f"There is no resource {uri[:200]!r}. Known: {known}."
    raise MCPError(INVALID_PARAMS, message, data={"uri": uri[:200]})


def _scope(uri: str) -> str:
    scope = unquote(uri.removeprefix(budgets.PREFIX))
    try:
        budgets.check_scope(scope)
    except InvalidRequest as error:
        raise MCPError(INVALID_PARAMS, str(error), data={"uri": uri[:200]}) from None
    return scope


def _days(uri: str) -> int:
    text = uri.removeprefix(SUMMARY_PREFIX)
    if text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= usage.MAX_DAYS:
        return int(text)
    raise MCPError(
        INVALID_PARAMS,
        f"{text[:50]!r} is no number of days: give a whole number from 1 to {usage.MAX_DAYS},"
        " as in usage://summary/30.",
        data={"uri": uri[:200]},
    )


def _json(model: BaseModel) -> str:
    return model.model_dump_json(exclude_unset=True)
