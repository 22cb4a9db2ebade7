"""Where a prompt goes: one pure decision, which a preview and a real call share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from tierwise.routing import pricing
from tierwise.routing.abilities import inability
from tierwise.routing.cascade import JUDGE_TOKENS
from tierwise.routing.catalog import Catalog
from tierwise.routing.complexity import Complexity
from tierwise.routing.errors import NoCandidate
from tierwise.routing.models import Model
from tierwise.routing.pricing import FREE
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.settings import Strategy
from tierwise.routing.steering import Steering
from tierwise.routing.tokens import estimate_prompt_tokens
from tierwise.storage.budgets import AtLimit, Budget
from tierwise.storage.records import Usage

TYPICAL_OUTPUT_TOKENS = {Tier.SIMPLE: 150, Tier.STANDARD: 600, Tier.COMPLEX: 1500}
"""What an answer of each tier tends to have; only for the estimate that people are shown."""


_STRAIGHT = Steering()


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


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model that was left out, and why."""

    model: Model
    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ordered candidates of one call."""

    request: ChatRequest
    complexity: Complexity
    tier: Tier
    """The tier that the call was judged to need, or that the caller chose."""
    reason: str
    candidates: tuple[Candidate, ...]
    excluded: tuple[Exclusion, ...]
    baseline: Model | None
    """The complex tier's first model: what always using the best would have used."""
    cascade: bool = False
    """An answer that is not good enough is followed by one of the next tier."""
    judge: Candidate | None = None
    """Asked in a cascade whether an answer will do."""
    budgets: tuple[Budget, ...] = ()
    """Those that the call is charged to."""
    features: bytes | None = None
    """What the ledger keeps of the prompt to learn from."""
    hint: str = ""
    """What to do where no model is known at all."""

    @property
    def first(self) -> Candidate:
        """The model that will be tried first.

        Raises:
            NoCandidate: there is none; the message says why each model was left out.
        """
        if not self.candidates:
            raise NoCandidate(_nothing_left(self.excluded, self.hint))
        return self.candidates[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What the settings say about choosing."""

    enabled: bool = True
    allow_downgrade: bool = False
    max_tokens: int
    strategy: Strategy = "priority"
    judge_model: str | None = None


def plan(
    request: ChatRequest,
    complexity: Complexity,
    catalog: Catalog,
    settings: PolicySettings,
    today: date,
    steering: Steering = _STRAIGHT,
    budgets: tuple[Budget, ...] = (),
) -> Plan:
    """Decide which models may serve `request`, in the order in which they will be tried.

    The tier's own models come first, then those of higher tiers, then the fallback chain; lower
    tiers only where the settings or a price cap of the request allow them. Pure: no I/O. `budgets` are
    those that the call is charged to; whether they have room is seen when an attempt is about to be made.

    Raises:
        UnknownModel: the request names a model that does not exist.
    """
    tier = request.tier or steering.apply(complexity.tier)
    prompt_tokens = estimate_prompt_tokens(request.payload)
    candidates: dict[tuple[str, str], Candidate] = {}
    excluded: dict[tuple[str, str], Exclusion] = {}
    for model, served, why in _order(request, tier, catalog, settings):
        key = (model.provider, model.name)
        if key in candidates or key in excluded:
            continue
        candidate = _candidate(model, served, why, request, prompt_tokens, settings)
        obstacle = _obstacle(candidate, request, prompt_tokens, budgets)
        if obstacle is not None:
            excluded[key] = Exclusion(model, served, obstacle)
            continue
        candidates[key] = _flagged(candidate, today)
    chosen = tuple(candidates.values())
    cascade = _cascades(request, settings)
    return Plan(
        request=request,
        complexity=complexity,
        tier=tier,
        reason=_reason(request, steering.reason or complexity.reason, tier, chosen, settings),
        candidates=chosen,
        excluded=tuple(excluded.values()),
        baseline=next(iter(catalog.tiers.get(Tier.COMPLEX, ())), None),
        cascade=cascade,
        judge=_judge(catalog, request, settings) if cascade else None,
        budgets=budgets,
        hint=catalog.hint,
    )


def cheapest_first(plan: Plan, catalog: Catalog, settings: PolicySettings) -> Plan:
    """`plan` with all models of all tiers that can serve it, those first that cost the least at worst."""
    request, prompt_tokens = plan.request, estimate_prompt_tokens(plan.request.payload)
    known = [
        _candidate(model, tiers[0], "the cheapest that can serve", request, prompt_tokens, settings)
        for model, tiers in catalog.models()
        if tiers and model.price
    ]
    able = [it for it in known if _obstacle(it, request, prompt_tokens, plan.budgets) is None]
    by_cost = sorted(able, key=lambda candidate: candidate.worst_cost or 0)
    return replace(plan, candidates=tuple(by_cost), cascade=False, judge=None)


def _judge(catalog: Catalog, request: ChatRequest, settings: PolicySettings) -> Candidate | None:
    if settings.judge_model is None:
        return None
    model = catalog.resolve(settings.judge_model)
    asked = replace(request, max_tokens=JUDGE_TOKENS)
    return _candidate(model, Tier.SIMPLE, "judges the answers", asked, 0, settings)


def _order(
    request: ChatRequest, tier: Tier, catalog: Catalog, settings: PolicySettings
) -> Iterator[tuple[Model, Tier, str]]:
    """Every model that may come into question, best first, with its tier and the reason."""
    ladder = list(_ladder(request, tier, catalog, settings))
    if request.fallback_models is None:
        names, after, why = ladder, catalog.fallback_chain, "litellm.fallback_chain"
    else:
        after = tuple(catalog.resolve(name) for name in request.fallback_models)
        names, why = ladder[:1], "fallback_models of the call"
    yield from names
    yield from ((model, catalog.tier_of(model) or tier, f"next in {why}") for model in after)


def _ladder(
    request: ChatRequest, tier: Tier, catalog: Catalog, settings: PolicySettings
) -> Iterator[tuple[Model, Tier, str]]:
    if request.model is not None:
        model = catalog.resolve(request.model)
        yield model, catalog.tier_of(model) or tier, "asked for by name"
    elif not settings.enabled and catalog.default_model:
        model = catalog.default_model
        yield model, catalog.tier_of(model) or tier, "litellm.default_model"
    else:
        for rung in _rungs(request, tier, settings):
            for place, model in enumerate(catalog.tiers.get(rung, ()), start=1):
                yield model, rung, f"{'first' if place == 1 else f'number {place}'} of the {rung} tier"


def _cascades(request: ChatRequest, settings: PolicySettings) -> bool:
    return (request.strategy or settings.strategy) == "cascade" and request.model is None and settings.enabled


def _rungs(request: ChatRequest, tier: Tier, settings: PolicySettings) -> list[Tier]:
    """The tiers in the order in which they may serve."""
    if _cascades(request, settings):
        return [rung for rung in Tier if request.tier is None or rung.rank >= request.tier.rank]
    downward = settings.allow_downgrade or request.max_cost_usd is not None
    upward = [rung for rung in Tier if rung.rank >= tier.rank]
    lower = [rung for rung in reversed(Tier) if rung.rank < tier.rank]
    return upward + lower if downward else upward


def _candidate(
    model: Model, tier: Tier, why: str, request: ChatRequest, prompt_tokens: int, settings: PolicySettings
) -> Candidate:
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


def _room(model: Model, wanted: int, prompt_tokens: int) -> int:
    """The tokens that an answer may have: what is wanted, as far as the model can write it."""
    limits = [wanted]
    if model.max_output_tokens:
        limits.append(model.max_output_tokens)
    if model.context_window:
        limits.append(max(model.context_window - prompt_tokens, 1))
    return min(limits)


def _obstacle(
    candidate: Candidate, request: ChatRequest, prompt_tokens: int, budgets: tuple[Budget, ...]
) -> str | None:
    """Why the candidate cannot serve, in a form that says what would help; None if it can."""
    model = candidate.model
    if not model.key_present:
        return f"no key: {model.key_variable} is not set{model.key_fault}"
    if model.context_window and prompt_tokens > model.context_window:
        return f"too small a window: about {prompt_tokens:,} tokens do not fit into {model.context_window:,}"
    if (lack := inability(request, model)) is not None:
        return lack
    strict = next((budget for budget in budgets if budget.at_limit is not AtLimit.WARN), None)
    if strict and model.price is None:
        return f"{model.price_note}, so the budget {strict.name!r} cannot be kept"
    if request.max_cost_usd is None:
        return None
    if candidate.worst_cost is None:
        return f"over the price cap: {model.price_note}, so max_cost_usd cannot be kept"
    if candidate.worst_cost > pricing.nano_usd(request.max_cost_usd):
        worst = pricing.usd(candidate.worst_cost)
        return f"over the price cap: up to ${worst:.6f} with max_tokens {candidate.max_tokens:,}"
    return None


def _flagged(candidate: Candidate, today: date) -> Candidate:
    """The candidate, with a word on its retirement where that is due."""
    warning = candidate.model.warning(today)
    return replace(candidate, reason=f"{candidate.reason}; {warning}") if warning else candidate


def _reason(
    request: ChatRequest,
    judgement: str,
    tier: Tier,
    chosen: tuple[Candidate, ...],
    settings: PolicySettings,
) -> str:
    """One sentence on why the first candidate is first."""
    if request.model is not None:
        why = "the caller chose the model"
    elif not settings.enabled:
        why = "routing is off"
    elif request.tier is not None:
        why = f"the caller chose the {tier} tier"
    else:
        why = judgement
    if not chosen:
        return f"{why}; no model can serve it"
    first = chosen[0]
    if first.tier is tier or request.model or not settings.enabled:
        moved = ""
    elif _cascades(request, settings):
        moved = ", where the cascade begins"
    else:
        moved = f", in place of the {tier} tier"
    cap = " to stay under max_cost_usd" if moved and request.max_cost_usd is not None else ""
    return f"{why}; {first.model.id} is {first.reason}{moved}{cap}"


def _nothing_left(excluded: tuple[Exclusion, ...], hint: str) -> str:
    if not excluded:
        return f"No model is configured: {hint}"
    reasons = "; ".join(f"{item.model.id}: {item.reason}" for item in excluded[:6])
    missing = {item.model.key_variable for item in excluded if not item.model.key_present}
    variables = " or ".join(sorted(variable for variable in missing if variable))
    if variables:
        what_to_do = (
            f"Set {variables} in the `env` of the tierwise entry in your host's MCP configuration"
            " (or in the shell, for the command line) and restart it."
        )
    else:
        what_to_do = "Raise max_cost_usd, lower max_tokens, shorten the prompt, or choose another model."
    return f"No model can serve this call ({reasons}). {what_to_do}"
