"""Prompt caches at the providers: where prefixes are marked for them, and which models are warm.

A provider that has read a prefix a short while ago bills it at a fraction. Anthropic wants to be told
where the prefix ends, and bills 25% more for keeping it; the others find out by themselves.
"""

import time
from collections import OrderedDict
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b

from tierwise.routing.candidates import TYPICAL_OUTPUT_TOKENS, Candidate
from tierwise.routing.catalog.models import Model
from tierwise.routing.money import pricing
from tierwise.routing.policy import Plan
from tierwise.routing.request import ChatRequest, Payload
from tierwise.routing.tokens import estimate_prompt_tokens
from tierwise.storage.records import Usage

SHORTEST_PREFIX = 1024
"""Tokens; nobody caches fewer (platform.openai.com/docs/guides/prompt-caching, and so Anthropic's
larger models; its smaller ones ignore marks below 2,048 or 4,096 at no cost)."""
_WARM_SECONDS = 300.0
"""How long the providers promise to keep a prefix, at least."""
_REMEMBERED = 1000
_MARKING_PROVIDERS = ("anthropic", "bedrock", "vertex_ai", "openrouter")


def takes_marks(model: Model) -> bool:
    """Does the model want to be told where a prefix ends?"""
    claude = model.provider.startswith(_MARKING_PROVIDERS) and "claude" in model.name.lower()
    return claude and model.has("prompt_caching")


def marked(payload: Payload, model: Model) -> Payload:
    """The payload with its prefix marked, where that can be worth it: it must come again, and be long."""
    if not takes_marks(model):
        return payload
    prefix = replace(payload, messages=payload.messages[:-1])
    return replace(payload, cache_prefix=estimate_prompt_tokens(prefix) >= SHORTEST_PREFIX)


@dataclass(frozen=True, slots=True)
class _Warm:
    provider: str
    name: str
    tokens: int
    at: float


class WarmModels:
    """Which model has a conversation's prefix in its cache. Holds digests, no text, and only in memory."""

    def __init__(self) -> None:
        self._models: OrderedDict[bytes, _Warm] = OrderedDict()

    def remember(self, request: ChatRequest, model: Model, usage: Usage) -> None:
        """Take note of an answer that `model` has just given."""
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        if not cached and model.has("prompt_caching") and not takes_marks(model):
            cached = usage.input_tokens
        if cached < SHORTEST_PREFIX:
            return
        key = _key(request)
        self._models[key] = _Warm(model.provider, model.name, cached, time.monotonic())
        self._models.move_to_end(key)
        if len(self._models) > _REMEMBERED:
            self._models.popitem(last=False)

    def preferred(self, plan: Plan) -> Plan:
        """The plan with the conversation's warm model in front, if that is cheaper than the first one."""
        warm = self._models.get(_key(plan.request)) if plan.request.history else None
        if warm is None or not plan.candidates or plan.cascade or plan.request.named_model is not None:
            return plan
        if time.monotonic() - warm.at > _WARM_SECONDS:
            return plan
        return _preferring(plan, warm)


def _preferring(plan: Plan, warm: _Warm) -> Plan:
    first = plan.candidates[0]
    found = [it for it in plan.candidates if (it.model.provider, it.model.name) == (warm.provider, warm.name)]
    if not found or found[0] is first or found[0].tier.rank < plan.tier.rank:
        return plan
    cost = _warm_cost(found[0], plan, warm.tokens)
    if cost is None or first.estimated_cost is None or cost >= first.estimated_cost:
        return plan
    why = f"its cache holds this conversation, which makes it cheaper than {first.model.id}"
    candidate = replace(found[0], reason=why, estimated_cost=cost)
    rest = tuple(it for it in plan.candidates if it is not found[0])
    return replace(
        plan, candidates=(candidate, *rest), reason=f"{plan.reason}; but {candidate.model.id}: {why}"
    )


def _warm_cost(candidate: Candidate, plan: Plan, cached: int) -> int | None:
    """nano-USD for a typical answer, `cached` tokens of the prompt being read from the cache."""
    tokens = estimate_prompt_tokens(plan.request.payload)
    usage = Usage(
        input_tokens=tokens,
        output_tokens=min(candidate.max_tokens, TYPICAL_OUTPUT_TOKENS[plan.tier]),
        cache_read_tokens=min(cached, tokens),
    )
    return pricing.cost(usage, candidate.model.price) if candidate.model.price else None


def saving(usage: Usage, model: Model) -> int | None:
    """What the provider's cache saved in nano-USD, less than 0 where it cost; None if nothing was cached."""
    if model.price is None or not (usage.cache_read_tokens or usage.cache_write_tokens):
        return None
    uncached = replace(usage, cache_read_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0)
    return pricing.cost(uncached, model.price) - pricing.cost(usage, model.price)


def _key(request: ChatRequest) -> bytes:
    """Equal for the turns of one conversation: they begin alike."""
    opening = next((turn.content for turn in request.messages if turn.role == "user"), "")
    tools = [astuple(tool) for tool in request.tools]
    parts = (request.tenant, request.conversation_id, request.system_prompt, tools, opening)
    return blake2b(repr(parts).encode(), digest_size=16).digest()
