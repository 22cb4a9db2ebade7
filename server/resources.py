"""The MCP resources: usage, models, their health and routing rules, for whoever reads instead of calling."""

import base64
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, BlobResourceContents, Resource, ResourceTemplate, TextResourceContents
from pydantic import BaseModel, TypeAdapter

from tierwise.routing.clock import zone
from tierwise.routing.errors import InvalidRequest
from tierwise.server import budgets, usage
from tierwise.server.clock import MAX_DAYS, Period, last_days
from tierwise.server.dashboard import app
from tierwise.server.export_resource import MIME_TYPES, ExportedFile, exported, exports_folder
from tierwise.server.health import providers_health
from tierwise.server.savings import savings
from tierwise.server.series import MOST_DAYS, time_series
from tierwise.server.tools.analysis import RoutingRule, routing_rules
from tierwise.server.tools.base import ToolContext
from tierwise.server.tools.made import MEDIA_PREFIX
from tierwise.server.tools.models import model_list

_MIME_TYPE = "application/json"
_RULES = TypeAdapter(dict[str, RoutingRule])

T = TypeVar("T")


class Content(NamedTuple):
    """What reading a resource gives."""

    text: str | bytes
    mime_type: str = _MIME_TYPE
    meta: dict[str, Any] | None = None


Reader = Callable[[ToolContext], Awaitable[Content]]


@dataclass(frozen=True, slots=True)
class FixedResource:
    """A resource with an address of its own."""

    uri: str
    title: str
    description: str
    read: Reader
    mime_type: str = _MIME_TYPE


@dataclass(frozen=True, slots=True)
class ResourceFamily:
    """Resources whose addresses end in parameters."""

    prefix: str
    parameters: tuple[str, ...]
    title: str
    description: str
    reader: Callable[..., Reader]
    """Takes each parameter as text; raises InvalidRequest if one is wrong."""
    mime_type: str | None = _MIME_TYPE
    """None if it differs."""

    @property
    def template(self) -> str:
        return self.prefix + "/".join(f"{{{name}}}" for name in self.parameters)

    def arguments(self, uri: str) -> list[str] | None:
        """The parameters in `uri`, of which the last takes the rest; None if it is none of these."""
        if not uri.startswith(self.prefix):
            return None
        found = uri.removeprefix(self.prefix).split("/", len(self.parameters) - 1)
        return found if len(found) == len(self.parameters) else None


async def _today(context: ToolContext) -> Content:
    return _json(await usage.today_usage(context.engine.store, context.settings.usage_tracking.time_zone))


async def _models(context: ToolContext) -> Content:
    return _json(await model_list(context))


async def _health(context: ToolContext) -> Content:
    return _json(await providers_health(context.engine))


async def _rules(context: ToolContext) -> Content:
    return Content(_RULES.dump_json(await routing_rules(context)).decode())


async def _app(context: ToolContext) -> Content:
    from tierwise.server.dashboard.page import page

    return Content(page("mcp"), app.MIME_TYPE, app.PAGE_META)


def _summary(days: str) -> Reader:
    number = _number_of_days(days)

    async def read(context: ToolContext) -> Content:
        query = usage.UsageQuery(_last_days(context, number))
        return _json(await usage.usage_summary(context.engine.store, query))

    return read


def _series(granularity: str, days: str) -> Reader:
    known = _one_of(granularity, MOST_DAYS)
    number = _number_of_days(days, MOST_DAYS[known])

    async def read(context: ToolContext) -> Content:
        return _json(await time_series(context.engine.store, known, _last_days(context, number)))

    return read


def _savings(days: str) -> Reader:
    number = _number_of_days(days)

    async def read(context: ToolContext) -> Content:
        return _json(await savings(context.engine.store, usage.UsageQuery(_last_days(context, number))))

    return read


def _export(format: str, days: str) -> Reader:
    known, number = _one_of(format, MIME_TYPES), _number_of_days(days)

    async def read(context: ToolContext) -> Content:
        folder = exports_folder(context.settings)
        text = await exported(context.engine.store, _last_days(context, number), known, folder)
        return _json(text) if isinstance(text, ExportedFile) else Content(text, MIME_TYPES[known])

    return read


def _budgets(scope: str) -> Reader:
    chosen = unquote(scope)
    budgets.check_scope(chosen)

    async def read(context: ToolContext) -> Content:
        return _json(await budgets.budget_list(context.engine.store, context.engine.spending, chosen))

    return read


def _media(call_id: str, place: str) -> Reader:
    async def read(context: ToolContext) -> Content:
        call = context.engine.find(call_id)
        parts = call.receipt().media if call and call.done else ()
        number = int(place) if place.isascii() and place.isdecimal() and len(place) < 4 else 0
        if not 1 <= number <= len(parts):
            raise MCPError(
                INVALID_PARAMS,
                f"There is no {MEDIA_PREFIX}{call_id[:50]}/{place[:10]}, or no longer: what was made is kept"
                " in memory until newer images and recordings need its room. Make it anew.",
            )
        return Content(parts[number - 1].data, parts[number - 1].media_type)

    return read


FIXED = {
    resource.uri: resource
    for resource in (
        FixedResource("usage://today", "Usage today", "Calls, tokens and cost since local midnight", _today),
        FixedResource(
            "models://list", "Models", "Each usable model with tiers, price and capabilities", _models
        ),
        FixedResource(
            "health://providers",
            "Health of the providers",
            "Each model's circuit breaker, success rate, latency, failovers and last error of late",
            _health,
        ),
        FixedResource("routing://rules", "Routing rules", "Each tier with its models and scores", _rules),
        FixedResource(app.URI, "Usage", "The page that shows what usage_summary tells", _app, app.MIME_TYPE),
    )
}

FAMILIES = (
    ResourceFamily(
        "usage://summary/",
        ("days",),
        "Usage over days",
        "Calls, tokens, cost and savings of the last days, such as usage://summary/30",
        _summary,
    ),
    ResourceFamily(
        "usage://timeseries/",
        ("granularity", "days"),
        "Usage over time",
        "The same for each hour, day or month, such as usage://timeseries/daily/30 (hourly, daily, monthly)",
        _series,
    ),
    ResourceFamily(
        "usage://savings/",
        ("days",),
        "Savings over days",
        "What these calls would have cost on the complex tier's first model, and without the cache",
        _savings,
    ),
    ResourceFamily(
        "usage://export/",
        ("format", "days"),
        "Calls of the last days",
        "As csv, json, jsonl or parquet, such as usage://export/csv/7; a link to a file where that is long",
        _export,
        mime_type=None,
    ),
    ResourceFamily(
        "usage://budget/",
        ("scope",),
        "Budgets",
        "Spent, left and forecast; scope is all, overall, tenant, agent, operation or tenant:NAME",
        _budgets,
    ),
    ResourceFamily(
        MEDIA_PREFIX,
        ("call_id", "n"),
        "Images and speech",
        "What a call has made, such as the first image at media://CALL_ID/1; kept in memory for a while",
        _media,
        mime_type=None,
    ),
)


def listed() -> list[Resource]:
    """The resources as `resources/list` shows them."""
    return [
        Resource(
            uri=item.uri,
            name=item.uri,
            title=item.title,
            description=item.description,
            mime_type=item.mime_type,
        )
        for item in FIXED.values()
    ]


def templates() -> list[ResourceTemplate]:
    """The families as `resources/templates/list` shows them."""
    return [
        ResourceTemplate(
            uri_template=family.template,
            name=family.template,
            title=family.title,
            description=family.description,
            mime_type=family.mime_type,
        )
        for family in FAMILIES
    ]


async def read(context: ToolContext, uri: str) -> TextResourceContents | BlobResourceContents:
    """The contents of the resource at `uri`.

    Raises:
        MCPError: -32602, with a sentence, where there is no such resource or a parameter is wrong.
    """
    text, mime_type, meta = await _reader(uri)(context)
    if isinstance(text, bytes):
        return BlobResourceContents(uri=uri, blob=base64.b64encode(text).decode(), mime_type=mime_type)
    return TextResourceContents(uri=uri, text=text, mime_type=mime_type, _meta=meta)


def _reader(uri: str) -> Reader:
    try:
        return _find(uri)
    except InvalidRequest as error:
        raise MCPError(INVALID_PARAMS, str(error), data={"uri": uri[:200]}) from None


def _find(uri: str) -> Reader:
    if uri in FIXED:
        return FIXED[uri].read
    for family in FAMILIES:
        arguments = family.arguments(uri)
        if arguments is not None:
            return family.reader(*arguments)
    known = ", ".join([*FIXED, *(family.template for family in FAMILIES)])
    raise InvalidRequest(f"There is no resource {uri[:200]!r}. Known: {known}.")


def _number_of_days(days: str, most: int = MAX_DAYS) -> int:
    """The parameter as a number.

    Raises:
        InvalidRequest: it is none from 1 to `most`.
    """
    if days.isascii() and days.isdecimal() and len(days) < 6 and 1 <= int(days) <= most:
        return int(days)
    raise InvalidRequest(f"{days[:50]!r} is no number of days: give a whole number from 1 to {most}.")


def _last_days(context: ToolContext, days: int) -> Period:
    return last_days(days, zone(context.settings.usage_tracking.time_zone))


def _one_of(text: str, known: Iterable[T]) -> T:
    for name in known:
        if name == text:
            return name
    raise InvalidRequest(f"{text[:50]!r} is not known there: give {', '.join(map(str, known))}.")


def _json(model: BaseModel) -> Content:
    return Content(model.model_dump_json(exclude_unset=True))
