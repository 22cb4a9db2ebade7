"""Suggestions for the arguments of prompts and for the parameters of resources, while they are typed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import mcp_types as types
from mcp.shared.exceptions import MCPError

from tierwise.routing.clock import zone
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.request import Tier
from tierwise.server.clock import last_days
from tierwise.server.export_resource import MIME_TYPES
from tierwise.server.prompts import prompt_named
from tierwise.server.resources import FAMILIES
from tierwise.server.series import MOST_DAYS
from tierwise.server.tools.base import ToolContext
from tierwise.storage.budgets import BudgetScope
from tierwise.storage.records import Dimension

MOST_VALUES = 100
"""The protocol allows no more in one answer."""
_REMEMBERED_DAYS = 90
"""How far back the ledger is searched for tenants and the like."""
_USUAL_DAYS = (1, 7, 30, 90, 365)


@dataclass(frozen=True, slots=True)
class _Typing:
    """An argument that is being typed."""

    context: ToolContext
    value: str
    """What there is of it."""
    others: Mapping[str, str]
    """The arguments that are filled in already."""


_Choices = Callable[[_Typing], Awaitable[Iterable[str]]]


async def complete(context: ToolContext, params: types.CompleteRequestParams) -> types.Completion:
    """What the argument can be, going by what is typed of it: first what begins like that, then what
    holds it, in whatever case. Free text has no suggestions.

    Raises:
        MCPError: -32602, with a sentence, where there is no such prompt, template or argument.
        TierwiseError: the settings name a model that does not exist, or the store cannot be read.
    """
    name, typed = params.argument.name, params.argument.value
    try:
        known = _arguments(params.ref)
        if name not in known:
            raise InvalidRequest(f"There is no argument {name[:100]!r} there. Known: {', '.join(known)}.")
    except InvalidRequest as error:
        raise MCPError(types.INVALID_PARAMS, str(error)) from None
    others = (params.context and params.context.arguments) or {}
    choices = await _CHOICES[name](_Typing(context, typed, others)) if name in _CHOICES else ()
    found = _matching(choices, typed)
    return types.Completion(values=found[:MOST_VALUES], total=len(found), has_more=len(found) > MOST_VALUES)


def _arguments(ref: types.PromptReference | types.ResourceTemplateReference) -> list[str]:
    if isinstance(ref, types.PromptReference):
        return list(prompt_named(ref.name).arguments.model_fields)
    for family in FAMILIES:
        if family.template == ref.uri:
            return list(family.parameters)
    known = ", ".join(family.template for family in FAMILIES)
    raise InvalidRequest(f"There is no resource template {ref.uri[:200]!r}. Known: {known}.")


def _matching(choices: Iterable[str], typed: str) -> list[str]:
    wanted = typed.casefold()
    holding = [choice for choice in dict.fromkeys(choices) if wanted in choice.casefold()]
    return sorted(holding, key=lambda choice: not choice.casefold().startswith(wanted))


async def _models(typing: _Typing) -> Iterable[str]:
    catalog = await typing.context.engine.catalog()
    return [*catalog.aliases, *(model.id for model, _ in catalog.models())]


async def _budget_scopes(typing: _Typing) -> Iterable[str]:
    budgets = await typing.context.engine.store.budgets()
    valued = (f"{budget.scope}:{budget.scope_value}" for budget in budgets if budget.scope_value)
    return ["all", *BudgetScope, *valued]


async def _filters(typing: _Typing) -> Iterable[str]:
    """The dimensions, and once one of them is there, the values that the ledger has for it."""
    name, colon, _ = typing.value.partition(":")
    if not colon or name not in set(Dimension):
        return [f"{dimension}:" for dimension in Dimension]
    if name == Dimension.TIER:
        return [f"{name}:{tier}" for tier in Tier]
    settings, store = typing.context.settings, typing.context.engine.store
    period = last_days(_REMEMBERED_DAYS, zone(settings.usage_tracking.time_zone))
    rows = await store.usage(start=period.start, end=period.end, group_by=(Dimension(name),))
    return [f"{name}:{row.key[0]}" for row in rows if row.key[0]]


async def _days(typing: _Typing) -> Iterable[str]:
    most = next((days for kind, days in MOST_DAYS.items() if kind == typing.others.get("granularity")), None)
    return [str(days) for days in _USUAL_DAYS if most is None or days <= most]


def _fixed(choices: Iterable[str]) -> _Choices:
    listed = list(choices)

    async def choose(_: _Typing) -> Iterable[str]:
        return listed

    return choose


_CHOICES: Mapping[str, _Choices] = {
    "model": _models,
    "scope": _budget_scopes,
    "only": _filters,
    "days": _days,
    "group_by": _fixed((*Dimension, "day")),
    "granularity": _fixed(MOST_DAYS),
    "format": _fixed(MIME_TYPES),
}
"""By the argument's name, which means the same wherever it occurs."""
