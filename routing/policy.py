"""Where a prompt goes: one pure decision, which a preview and a real call share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from tierwise.routing.candidates import Candidate, candidate_for, obstacle_of
from tierwise.routing.cascade import JUDGE_TOKENS
from tierwise.routing.catalog.catalog import Catalog, Makers
from tierwise.routing.catalog.models import Model
from tierwise.routing.complexity import Complexity
from tierwise.routing.errors import NoCandidate
from tierwise.routing.order import Group, Placed, PolicySettings, groups, ranked, strategy_of
from tierwise.routing.reliability.health import Health
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.steering import Steering
from tierwise.routing.strategies import ORDERS, Option
from tierwise.routing.tokens import estimate_prompt_tokens
from tierwise.storage.budgets import Budget

_STRAIGHT = Steering()
_HEALTHY = Health()


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model that was left out, and why."""

    model: Model
    tier: Tier
    reason: str
    retry_after: float | None = None
    """Seconds until it may serve, where that is all that is in its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The ordered candidates of one call."""

    request: ChatRequest
    complexity: Complexity | None
    """None of what is not answered in words; its tiers mean nothing."""
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
    peers: tuple[Candidate, ...] = ()
    """Those that are not asked first, but whose answer serves as well if the cache has it: the others among
    which the strategy has chosen another way this time, and those before them that are left alone."""
    changing: bool = False
    """The order of the candidates may be another one for the next such call."""

    @property
    def first(self) -> Candidate:
        """The model that will be tried first; where all are left alone for a while, the first of them.

        Raises:
            NoCandidate: there is none; the message says why each model was left out.
        """
        if not self.candidates and not self.peers:
            raise self.nothing_left()
        return (*self.candidates, *self.peers)[0]

    @property
    def score(self) -> float | None:
        """How hard the prompt was found to be, from 0 to 1."""
        return self.complexity and self.complexity.score

    @property
    def judged(self) -> Complexity:
        """What was found of the prompt of a chat."""
        if self.complexity is None:
            raise TypeError("only chats are judged")
        return self.complexity

    def nothing_left(self) -> NoCandidate:
        """The error of a call that nobody can serve."""
        return NoCandidate(_nothing_left(self.excluded, self.hint))


def plan(
    request: ChatRequest,
    complexity: Complexity | None,
    catalog: Catalog,
    settings: PolicySettings,
    today: date,
    steering: Steering = _STRAIGHT,
    budgets: tuple[Budget, ...] = (),
    health: Health = _HEALTHY,
) -> Plan:
    """Decide which models may serve `request`, in the order in which they will be tried.

    The tier's own models come first, then those of higher tiers, then the fallback chain; lower
    tiers only where the settings or a price cap of the request allow them. Pure: no I/O. `budgets` are
    those that the call is charged to; whether they have room is seen when an attempt is about to be made.

    Raises:
        UnknownModel: the request names a model that does not exist.
    """
    tier = request.tier or (steering.apply(complexity.tier) if complexity else Tier.STANDARD)
    judgement = steering.reason or (complexity.reason if complexity else "no model was named")
    tokens = estimate_prompt_tokens(request.payload)
    choice = _Choice(request, tokens, settings, today, budgets, health)
    for group in groups(request, tier, catalog, settings):
        choice.add(group)
    chosen = tuple(choice.candidates.values())
    cascade = strategy_of(request, settings) == "cascade"
    return Plan(
        request=request,
        complexity=complexity,
        tier=tier,
        reason=_reason(request, judgement, tier, chosen, settings),
        candidates=chosen,
        excluded=tuple(choice.excluded.values()),
        baseline=next(iter(catalog.tiers.get(Tier.COMPLEX, ())), None) if complexity else None,
        cascade=cascade,
        judge=_judge(catalog, request, settings) if cascade else None,
        budgets=budgets,
        hint=catalog.hint,
        peers=tuple(choice.peers),
        changing=choice.changing,
    )


_Key = tuple[str, str]


@dataclass(slots=True)
class _Choice:
    """The models of one plan, as far as they have been looked at."""

    request: ChatRequest
    tokens: int
    """Of the prompt."""
    settings: PolicySettings
    today: date
    budgets: tuple[Budget, ...]
    health: Health
    candidates: dict[_Key, Candidate] = field(default_factory=dict[_Key, Candidate])
    excluded: dict[_Key, Exclusion] = field(default_factory=dict[_Key, Exclusion])
    peers: list[Candidate] = field(default_factory=list[Candidate])
    changing: bool = False

    def add(self, group: Group) -> None:
        """Put what can serve of the group behind what is there."""
        first = not self.candidates
        able, resting = self._sorted_out(group)
        ordered = self._ordered(group, able)
        chosen = ordered[: group.limit]
        self.candidates |= {_key(candidate.model): candidate for candidate in chosen}
        if first:
            self.peers += resting
        if first and chosen and group.changing:
            self.changing = True
            self.peers += ordered[1:]

    def _sorted_out(self, group: Group) -> tuple[list[tuple[Placed, Candidate]], list[Candidate]]:
        """Those of the group that can serve, and those that could if they were not left alone."""
        able: dict[_Key, tuple[Placed, Candidate]] = {}
        resting: list[Candidate] = []
        for placed in group.placed:
            model, key = placed.model, _key(placed.model)
            if key in self.candidates or key in self.excluded or key in able:
                continue
            candidate = candidate_for(
                model, placed.tier, placed.reason, self.request, self.tokens, self.settings
            )
            obstacle = obstacle_of(candidate, self.request, self.tokens, self.budgets)
            rest = None if obstacle else self.health.rest(model)
            if obstacle is not None:
                self.excluded[key] = Exclusion(model, placed.tier, obstacle)
            elif rest is not None:
                self.excluded[key] = Exclusion(model, placed.tier, *rest)
                resting.append(candidate)
            else:
                able[key] = placed, candidate
        return list(able.values()), resting

    def _ordered(self, group: Group, able: Sequence[tuple[Placed, Candidate]]) -> list[Candidate]:
        options = [self._option(placed, candidate) for placed, candidate in able]
        ordered: list[Candidate] = []
        for rank, place in enumerate(ORDERS[group.strategy](options, self.health.chance)):
            placed, candidate = able[place]
            told = [
                ranked(group, placed, rank, options[place]),
                candidate.model.warning(self.today),
                self.health.trial(candidate.model),
            ]
            ordered.append(replace(candidate, reason="; ".join(text for text in told if text)))
        return ordered

    def _option(self, placed: Placed, candidate: Candidate) -> Option:
        observed = self.health.observation(candidate.model)
        return Option(
            cost=candidate.estimated_cost,
            attempts=observed.attempts if observed else 0,
            ms_per_token=observed.ms_per_token if observed else None,
            used_at=self.health.used_at(candidate.model),
            weight=placed.weight,
        )


def _key(model: Model) -> _Key:
    return model.provider, model.name


def cheapest_first(plan: Plan, catalog: Catalog, settings: PolicySettings) -> Plan:
    """`plan` with all models of all tiers that can serve it, those first that cost the least at worst."""
    request, prompt_tokens = plan.request, estimate_prompt_tokens(plan.request.payload)
    known = [
        candidate_for(model, tiers[0], "the cheapest that can serve", request, prompt_tokens, settings)
        for model, tiers in _all_for(request, catalog)
        if tiers and model.price
    ]
    able = [it for it in known if obstacle_of(it, request, prompt_tokens, plan.budgets) is None]
    by_cost = sorted(able, key=lambda candidate: candidate.worst_cost or 0)
    return replace(plan, candidates=tuple(by_cost), cascade=False, judge=None, peers=())


def _all_for(request: ChatRequest, catalog: Catalog) -> Iterable[tuple[Model, tuple[Tier, ...]]]:
    if request.task is None:
        return catalog.models()
    return [(model, (Tier.STANDARD,)) for model in catalog.media.get(request.modality, Makers()).models]


def _judge(catalog: Catalog, request: ChatRequest, settings: PolicySettings) -> Candidate | None:
    if settings.judge_model is None:
        return None
    model = catalog.resolve(settings.judge_model)
    asked = replace(request, max_tokens=JUDGE_TOKENS)
    return candidate_for(model, Tier.SIMPLE, "judges the answers", asked, 0, settings)


def _reason(
    request: ChatRequest,
    judgement: str,
    tier: Tier,
    chosen: tuple[Candidate, ...],
    settings: PolicySettings,
) -> str:
    """One sentence on why the first candidate is first."""
    if request.named_model is not None:
        why = "the caller chose the model"
    elif request.preference is not None:
        why = f"the caller asked for auto:{request.preference}"
    elif not settings.enabled and request.task is None:
        why = "routing is off"
    elif request.tier is not None:
        why = f"the caller chose the {tier} tier"
    else:
        why = judgement
    if not chosen:
        return f"{why}; no model can serve it"
    first = chosen[0]
    if first.tier is tier or request.named_model or request.preference or not settings.enabled:
        moved = ""
    elif strategy_of(request, settings) == "cascade":
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
    waits = [item.retry_after for item in excluded if item.retry_after is not None]
    if waits:
        what_to_do = f"Try again in {min(waits):g} s, or choose another model."
    elif variables:
        what_to_do = (
            f"Set {variables} in the `env` of the tierwise entry in your host's MCP configuration"
            " (or in the shell, for the command line) and restart it."
        )
    else:
        what_to_do = "Raise max_cost_usd, lower max_tokens, shorten the prompt, or choose another model."
    return f"No model can serve this call ({reasons}). {what_to_do}"
