"""What a model would be for a request: with which limits, at what cost, and what stands in its way."""

from dataclasses import dataclass

from tierwise.routing.abilities import inability
from tierwise.routing.catalog.models import Model
from tierwise.routing.money import pricing
from tierwise.routing.money.consumption import likely_usage, most_output_tokens, worst_cost
from tierwise.routing.money.pricing import FREE
from tierwise.routing.order import PolicySettings
from tierwise.routing.request import ChatRequest, Tier
from tierwise.storage.budgets import AtLimit, Budget
from tierwise.storage.records import Usage

TYPICAL_OUTPUT_TOKENS = {Tier.SIMPLE: 150, Tier.STANDARD: 600, Tier.COMPLEX: 1500}
"""What an answer of each tier tends to have; only for the estimate that people are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that could serve the call."""

    model: Model
    tier: Tier
    reason: str
    max_tokens: int
    """What the model may write in this call."""
    max_tokens_sent: int | None
    """The same, or None where the model's own limit had better decide."""
    estimated_cost: int | None
    """nano-USD for a typical answer; None if the price is unknown."""
    worst_cost: int | None
    """nano-USD if the model writes all of `max_tokens`."""


def candidate_for(
    model: Model, tier: Tier, why: str, request: ChatRequest, prompt_tokens: int, settings: PolicySettings
) -> Candidate:
    """The model as a candidate; `prompt_tokens` are about those of the request."""
    if request.task is not None:
        return _maker(model, tier, why, request)
    max_tokens = _room(model, request.max_tokens or settings.max_tokens, prompt_tokens)
    # A server of the user's own may have any window, and refuses a limit that does not fit into it.
    known = request.max_tokens is not None or model.context_window is not None or model.price != FREE

    def cost_of(output_tokens: int) -> int | None:
        usage = Usage(input_tokens=prompt_tokens, output_tokens=output_tokens)
        return pricing.cost(usage, model.price) if model.price else None

    return Candidate(
        model=model,
        tier=tier,
        reason=why,
        max_tokens=max_tokens,
        max_tokens_sent=max_tokens if known else None,
        estimated_cost=cost_of(min(max_tokens, TYPICAL_OUTPUT_TOKENS[tier])),
        worst_cost=cost_of(max_tokens),
    )


def _maker(model: Model, tier: Tier, why: str, request: ChatRequest) -> Candidate:
    """A candidate for what is no chat."""
    payload = request.payload
    max_tokens = most_output_tokens(payload, model)
    likely = likely_usage(payload, model.price, 0)
    return Candidate(
        model=model,
        tier=tier,
        reason=why,
        max_tokens=max_tokens,
        max_tokens_sent=None,
        estimated_cost=pricing.cost(likely, model.price) if model.price else None,
        worst_cost=worst_cost(payload, model, max_tokens),
    )


def _room(model: Model, wanted: int, prompt_tokens: int) -> int:
    """The tokens that an answer may have: what is wanted, as far as the model can write it."""
    limits = [wanted]
    if model.max_output_tokens:
        limits.append(model.max_output_tokens)
    if model.context_window:
        limits.append(max(model.context_window - prompt_tokens, 1))
    return min(limits)


def obstacle_of(
    candidate: Candidate, request: ChatRequest, prompt_tokens: int, budgets: tuple[Budget, ...]
) -> str | None:
    """Why the candidate cannot serve, in a form that says what would help; None if it can."""
    model = candidate.model
    if (lack := inability(request, model)) is not None:
        return lack
    if not model.key_present:
        return f"no key: {model.key_variable} is not set{model.key_fault}"
    if model.context_window and prompt_tokens > model.context_window:
        return f"too small a window: about {prompt_tokens:,} tokens do not fit into {model.context_window:,}"
    strict = next((budget for budget in budgets if budget.at_limit is not AtLimit.WARN), None)
    if strict and model.price is None:
        return f"{model.price_note}, so the budget {strict.name!r} cannot be kept"
    if request.max_cost_usd is None:
        return None
    if candidate.worst_cost is None:
        return f"over the price cap: {model.price_note}, so max_cost_usd cannot be kept"
    if candidate.worst_cost > pricing.nano_usd(request.max_cost_usd):
        worst = pricing.usd(candidate.worst_cost)
        limit = f" with max_tokens {candidate.max_tokens:,}" if request.task is None else ""
        return f"over the price cap: up to ${worst:.6f}{limit}"
    return None
