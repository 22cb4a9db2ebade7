"""What endpoints say of their own models, in the fields of litellm's price map."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeGuard, cast

from tierwise.routing.catalog.ladders import LOCAL_PROVIDERS
from tierwise.routing.catalog.local import chats
from tierwise.routing.catalog.price_map import CHAT_MODES

Fields = Mapping[str, Any]

_LONGEST_NAME = 200
_MOST_TOKENS = 10**9
_MOST_USD = 1.0
"""For a token, or a request: what says more is not believed."""
_LIMITS = ("max_input_tokens", "max_output_tokens")
_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"


@dataclass(frozen=True, slots=True)
class Offer:
    """One model that an endpoint serves."""

    fields: Fields = field(default_factory=dict[str, Any])
    """Those of the price map, checked."""
    free: bool = False
    """It says that the model costs nothing, and means it: elsewhere zeros stand for what nobody filled in."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The chat models of one endpoint by name."""

    offers: Mapping[str, Offer]
    detailed: bool
    """It tells prices and abilities, so what it leaves open is unknown; else they are those of the price
    map, if that knows the name."""


NO_LISTINGS: Mapping[str, Listing] = {}


def read_model_info(answer: bytes) -> Listing:
    """The listing in what a LiteLLM proxy answers to `GET /model/info`. Of deployments that share a name,
    the dearest counts, with the smallest limits and what all of them can do.

    Raises:
        ValueError, RecursionError: it is no such answer.
    """
    offers: dict[str, Offer] = {}
    for entry in _entries(answer):
        name, info = entry.get("model_name"), entry.get("model_info")
        if not _is_name(name) or not isinstance(info, dict):
            continue
        told = cast("dict[str, Any]", info)
        if told.get("mode") in (None, *CHAT_MODES):
            offer = _offer(told)
            offers[name] = _both(offers[name], offer) if name in offers else offer
    return Listing(offers, detailed=True)


def read_models(answer: bytes) -> Listing:
    """The listing in what any OpenAI-compatible endpoint answers to `GET /models`.

    Raises:
        ValueError, RecursionError: it is no such answer.
    """
    chatting = {
        name: Offer(_checked(entry))
        for entry in _entries(answer)
        if _is_name(name := entry.get("id")) and chats(name) and entry.get("mode") in (None, *CHAT_MODES)
    }
    return Listing(chatting, detailed=False)


def _entries(answer: bytes) -> Iterator[dict[str, Any]]:
    parsed: Any = json.loads(answer)
    data: Any = cast("dict[str, Any]", parsed).get("data") if isinstance(parsed, dict) else None
    if not isinstance(data, list):
        raise ValueError("not a list of models")
    return (cast("dict[str, Any]", it) for it in cast("list[Any]", data) if isinstance(it, dict))


def _is_name(name: Any) -> TypeGuard[str]:
    """Something that a model can be called by; a pattern such as `openai/*` is none."""
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable() and "*" not in name


def _offer(info: Fields) -> Offer:
    fields = _checked(info)
    meant = info.get("pricing_overrides")
    overridden = isinstance(meant, list) and {_INPUT, _OUTPUT} <= set(cast("list[Any]", meant))
    nothing = fields.get(_INPUT) == fields.get(_OUTPUT) == 0
    return Offer(fields, nothing and (overridden or info.get("litellm_provider") in LOCAL_PROVIDERS))


def _checked(info: Fields) -> dict[str, Any]:
    """What can be believed of it: prices and limits that are plain numbers, abilities, a real date.

    Prices that go by steps or by the hour are left out: a proxy tells what each answer cost, too.
    """
    checked: dict[str, Any] = {}
    for name, value in info.items():
        if (name.startswith("supports_") and isinstance(value, bool)) or _is_price(name, value):
            checked[name] = value
        elif name in _LIMITS and 0 < _number(value) <= _MOST_TOKENS:
            checked[name] = int(value)
        elif name == "deprecation_date" and _is_date(value):
            checked[name] = value
    return checked


def _is_price(name: str, value: Any) -> bool:
    rate = "cost_per_token" in name or "_token_cost" in name or name == "input_cost_per_request"
    return rate and 0 <= _number(value) <= _MOST_USD


def _number(value: Any) -> float:
    """The number that it is, or one that fits no range."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_date(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _both(one: Offer, other: Offer) -> Offer:
    """What can be said of a name that stands for both."""
    dearer = max(one.fields, other.fields, key=_rate)
    merged = {name: value for name, value in dearer.items() if "cost" in name}
    for name in _LIMITS:
        if limits := [it.fields[name] for it in (one, other) if name in it.fields]:
            merged[name] = min(limits)
    for name, able in one.fields.items():
        if name.startswith("supports_"):
            merged[name] = able is True and other.fields.get(name) is True
    return Offer(merged, one.free and other.free)


def _rate(fields: Fields) -> float:
    """Three input tokens for each output token; more than any where a price is unknown."""
    return 3 * fields.get(_INPUT, math.inf) + fields.get(_OUTPUT, math.inf)
