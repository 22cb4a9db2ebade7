"""The one decision: which models may serve a call, in which order, and why not the others."""

from dataclasses import replace
from datetime import date
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing.bench import PRICES, chat, only, rules
from tests.routing.catalogs import TODAY, catalog
from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.price_map import PriceMap
from tierwise.routing.complexity import Complexity
from tierwise.routing.errors import NoCandidate, UnknownModel
from tierwise.routing.money.pricing import usd
from tierwise.routing.order import PolicySettings
from tierwise.routing.policy import Plan, plan
from tierwise.routing.reliability.health import Health
from tierwise.routing.request import ChatRequest, Message, Strategy, Tier
from tierwise.routing.settings import ProviderSettings
from tierwise.storage.breakers import Breaker

FAKE = {"fake": ProviderSettings(api_base="http://127.0.0.1:9/v1", models={"tiny": "small"})}
LADDER = catalog(rules(), providers=FAKE, pricing=PRICES)


def judged(tier: Tier) -> Complexity:
    return Complexity(
        score=0.5, tier=tier, confidence=1, p_cheap_fails=0, contributions={}, reason=f"judged {tier}"
    )


def decide(
    request: ChatRequest,
    models: Catalog = LADDER,
    *,
    judged_tier: Tier = Tier.STANDARD,
    today: date = TODAY,
    health: Health | None = None,
    **settings: Any,
) -> Plan:
    values: dict[str, Any] = {"max_tokens": 1000} | settings
    policy, healthy = PolicySettings(**values), Health()
    return plan(request, judged(judged_tier), models, policy, today, health=health or healthy)


def names(made: Plan) -> list[str]:
    return [candidate.model.name for candidate in made.candidates]


def why_not(made: Plan) -> dict[str, str]:
    return {exclusion.model.name: exclusion.reason for exclusion in made.excluded}


# The order


@pytest.mark.parametrize(
    ("tier", "order"),
    [
        (Tier.SIMPLE, ["small", "standard", "peer", "large"]),
        (Tier.STANDARD, ["standard", "peer", "large"]),
        (Tier.COMPLEX, ["large"]),
    ],
)
def test_a_tier_is_followed_by_its_peers_and_the_tiers_above(tier: Tier, order: list[str]) -> None:
    assert names(decide(chat(tier=None), judged_tier=tier)) == order


@pytest.mark.parametrize(
    ("tier", "order"),
    [
        (Tier.STANDARD, ["standard", "peer", "large", "small"]),
        (Tier.COMPLEX, ["large", "standard", "peer", "small"]),
    ],
)
def test_where_downgrades_are_allowed_the_tiers_below_come_last_and_nearest_first(
    tier: Tier, order: list[str]
) -> None:
    assert names(decide(chat(tier=tier), allow_downgrade=True)) == order


def test_the_tier_that_the_caller_chose_goes_before_the_one_that_was_judged() -> None:
    made = decide(chat(tier=Tier.COMPLEX), judged_tier=Tier.SIMPLE)
    assert (names(made), made.tier) == (["large"], Tier.COMPLEX)
    assert made.reason == "the caller chose the complex tier; fake/large is first of the complex tier"


def test_an_empty_tier_resolves_upward_and_the_reason_says_so() -> None:
    made = decide(chat(tier=None), catalog(rules(("fake/small",), ()), providers=FAKE))
    assert (names(made), made.tier, made.first.tier) == (["large"], Tier.STANDARD, Tier.COMPLEX)
    assert made.reason == (
        "judged standard; fake/large is first of the complex tier, in place of the standard tier"
    )


def test_a_model_that_is_asked_for_is_first_and_the_fallback_chain_follows() -> None:
    models = catalog(rules(), providers=FAKE, fallback_chain=("fake/peer", "tiny"))
    made = decide(chat(tier=None, model="tiny"), models)
    assert names(made) == ["small", "peer"]
    assert [candidate.reason for candidate in made.candidates] == [
        "asked for by name",
        "next in litellm.fallback_chain",
    ]


def test_fallback_models_replace_everything_after_the_first_choice() -> None:
    models = catalog(rules(), providers=FAKE, fallback_chain=("fake/peer",))
    assert names(decide(chat(fallback_models=("tiny", "fake/large")), models)) == [
        "standard",
        "small",
        "large",
    ]
    assert names(decide(chat(fallback_models=()), models)) == ["standard"]
    with pytest.raises(UnknownModel):
        decide(chat(fallback_models=("no-such-model",)), models)


def test_with_routing_off_the_default_model_comes_first_whatever_the_tier() -> None:
    models = catalog(rules(), providers=FAKE, default_model="fake/large")
    made = decide(chat(tier=None), models, judged_tier=Tier.SIMPLE, enabled=False)
    assert (names(made), made.reason) == (["large"], "routing is off; fake/large is litellm.default_model")
    assert names(decide(chat(tier=None, model="tiny"), models, enabled=False)) == ["small"]


def test_with_routing_off_and_no_default_model_the_ladder_serves() -> None:
    assert names(decide(chat(tier=None), enabled=False))[0] == "standard"


# What rules a model out


def test_a_model_without_its_key_is_left_out_and_the_error_names_each_variable() -> None:
    models = catalog(only("gpt-4o", "anthropic/claude-opus-5-5"))
    made = decide(chat(), models)
    assert why_not(made) == {
        "gpt-4o": "no key: OPENAI_API_KEY is not set",
        "claude-opus-5-5": "no key: ANTHROPIC_API_KEY is not set",
    }
    with pytest.raises(NoCandidate, match="Set ANTHROPIC_API_KEY or OPENAI_API_KEY in the `env`"):
        _ = made.first


def test_a_prompt_that_is_too_long_for_a_window_goes_to_a_larger_one() -> None:
    models = catalog(only("gpt-4", "gpt-4o"), environ={"OPENAI_API_KEY": "k"})  # 8,192 and 128,000 tokens
    assert names(decide(chat(prompt="word " * 5_000), models)) == ["gpt-4", "gpt-4o"]
    made = decide(chat(prompt="word " * 10_000), models)
    assert names(made) == ["gpt-4o"]
    assert why_not(made)["gpt-4"].startswith("too small a window: about 13,8")


def test_the_whole_conversation_counts_towards_the_window() -> None:
    models = catalog(only("gpt-4"), environ={"OPENAI_API_KEY": "k"})
    long = "word " * 10_000
    assert names(decide(chat(), models)) == ["gpt-4"]
    assert names(decide(chat(history=(Message("user", long),)), models)) == []
    assert names(decide(chat(system_prompt=long), models)) == []


def test_a_price_cap_takes_the_nearest_lower_tier_that_keeps_it() -> None:
    made = decide(chat(tier=Tier.COMPLEX, max_cost_usd=0.03))
    assert names(made) == ["standard", "peer", "small"]
    assert made.reason == (
        "the caller chose the complex tier; fake/standard is first of the standard tier, "
        "in place of the complex tier to stay under max_cost_usd"
    )
    assert why_not(made) == {"large": "over the price cap: up to $0.201300 with max_tokens 1,000"}


def test_a_price_cap_leaves_out_a_model_whose_price_is_unknown() -> None:
    made = decide(chat(model="fake/new", tier=None, max_cost_usd=1000.0))
    assert names(made) == []
    assert why_not(made)["new"] == (
        "over the price cap: no price is known for fake/new: set usage_tracking.pricing, "
        "so max_cost_usd cannot be kept"
    )
    with pytest.raises(NoCandidate, match="Raise max_cost_usd, lower max_tokens, shorten the prompt"):
        _ = made.first


def test_with_no_model_at_all_the_error_says_what_to_set() -> None:
    with pytest.raises(NoCandidate, match=r"No model is configured: set model_routing\.rules"):
        _ = decide(chat(), catalog()).first


def test_a_model_past_its_deprecation_serves_those_who_name_it_but_is_flagged() -> None:
    entry = {"mode": "chat", "litellm_provider": "openai", "deprecation_date": "2026-11-21"}
    models = catalog(only("gpt-old"), environ={"OPENAI_API_KEY": "k"}, price_map=PriceMap({"gpt-old": entry}))
    yesterday, today = (decide(chat(), models, today=date(2026, 11, day)).first for day in (20, 21))
    assert yesterday.reason == "first of the standard tier"
    assert today.reason == "first of the standard tier; deprecated since 2026-11-21"


# What it may cost


def test_an_answer_may_be_as_long_as_asked_as_usual_or_as_the_model_can() -> None:
    models = catalog(only("gpt-4o"), environ={"OPENAI_API_KEY": "k"})  # writes at most 16,384 tokens
    assert decide(chat(), models).first.max_tokens == 1000
    assert decide(chat(max_tokens=50), models).first.max_tokens == 50
    assert decide(chat(max_tokens=50_000), models).first.max_tokens == 16_384
    assert decide(chat(max_tokens=50_000)).first.max_tokens == 50_000


def test_the_worst_cost_is_that_of_the_longest_answer_and_the_estimate_that_of_a_usual_one() -> None:
    first = decide(chat(prompt="x" * 36)).first  # 10 tokens and 4 for the message
    assert first.worst_cost == 14 * 10_000 + 1000 * 20_000
    assert first.estimated_cost == 14 * 10_000 + 600 * 20_000
    assert decide(chat(prompt="x" * 36, max_tokens=5)).first.estimated_cost == 14 * 10_000 + 5 * 20_000


def test_the_baseline_is_the_first_model_of_the_complex_tier() -> None:
    baseline = decide(chat()).baseline
    assert baseline is not None
    assert baseline.id == "fake/large"
    alone = decide(chat(), catalog(only("fake/standard"), providers=FAKE)).baseline
    assert alone is not None
    assert alone.id == "fake/standard"


# What holds for every request

requests = st.builds(
    ChatRequest,
    prompt=st.text(min_size=1, max_size=50),
    model=st.sampled_from([None, "tiny", "fake/large", "fake/new"]),
    tier=st.sampled_from([None, *Tier]),
    max_tokens=st.none() | st.integers(1, 10**6),
    fallback_models=st.none()
    | st.lists(st.sampled_from(["tiny", "fake/peer", "fake/new"]), max_size=3).map(tuple),
    max_cost_usd=st.none() | st.floats(1e-9, 1e3),
)


@given(requests, st.sampled_from(list(Tier)), st.booleans(), st.booleans())
def test_a_plan_names_each_model_once_and_keeps_every_promise(
    request: ChatRequest, tier: Tier, enabled: bool, allow_downgrade: bool
) -> None:
    made = decide(request, judged_tier=tier, enabled=enabled, allow_downgrade=allow_downgrade)
    considered = names(made) + list(why_not(made))
    assert len(considered) == len(set(considered)) == len(made.candidates) + len(made.excluded)
    for candidate in made.candidates:
        assert 1 <= candidate.max_tokens <= (request.max_tokens or 1000)
        if request.max_cost_usd is not None:
            assert candidate.worst_cost is not None
            assert usd(candidate.worst_cost) <= request.max_cost_usd + 1e-9
        if request.model is None and request.fallback_models is None and request.max_cost_usd is None:
            assert allow_downgrade or candidate.tier.rank >= made.tier.rank


NOW = 1_795_003_200_000
DEPLOYMENTS = {model.deployment for model, _ in LADDER.models()} | {"fake/new at http://127.0.0.1:9/v1"}
breakers = st.builds(
    Breaker,
    deployment=st.just(""),
    failures=st.integers(1, 9),
    opened_at=st.none() | st.integers(NOW - 100_000, NOW + 10_000),
    cooldown_ms=st.just(60_000),
    probe_at=st.none() | st.integers(NOW - 100_000, NOW + 10_000),
    lease_ms=st.just(20_000),
)
healths = st.builds(
    Health,
    now=st.just(NOW),
    breakers=st.dictionaries(st.sampled_from(sorted(DEPLOYMENTS)), breakers),
    turns=st.dictionaries(st.sampled_from(sorted(DEPLOYMENTS)), st.integers(1, NOW)),
    chance=st.floats(0, 1, exclude_max=True),
)


@given(requests, st.sampled_from(list(Tier)), healths, st.sampled_from(get_args(Strategy)))
def test_whatever_the_health_a_plan_tries_only_who_may_be_tried_and_says_when_the_others_may(
    request: ChatRequest, tier: Tier, health: Health, strategy: Strategy
) -> None:
    made = decide(request, judged_tier=tier, health=health, strategy=strategy)
    well = decide(request, judged_tier=tier, strategy=strategy)
    resting = {item.model.name for item in made.excluded if item.retry_after is not None}
    considered = names(made) + list(why_not(made))
    assert len(considered) == len(set(considered))
    assert not any(health.rest(candidate.model) for candidate in made.candidates)
    assert resting <= set(names(well)) | {candidate.model.name for candidate in well.peers}
    assert set(names(well)) <= set(considered) | {candidate.model.name for candidate in made.peers}
    assert all(0 < (item.retry_after or 1) <= 120 for item in made.excluded)
    if not made.changing:
        assert {candidate.model.name for candidate in made.peers} <= resting
    # Tiers stay in their order, whatever the strategy.
    if request.model is None and request.fallback_models is None and request.max_cost_usd is None:
        ranks = [candidate.tier.rank for candidate in made.candidates]
        assert ranks == sorted(ranks)


def test_a_model_that_is_tried_again_is_said_to_be_and_the_one_that_failed_of_late_is_left_out() -> None:
    standard, peer, *_ = decide(chat()).candidates
    opened = Breaker(deployment="", failures=5, opened_at=NOW - 18_000, cooldown_ms=60_000)
    half_open = replace(opened, failures=1, opened_at=NOW - 60_000)
    health = Health(now=NOW, breakers={standard.model.deployment: opened, peer.model.deployment: half_open})
    made = decide(chat(), health=health)
    assert why_not(made) == {"standard": "breaker open after 5 failures, tried again in 42 s"}
    assert made.first.reason == "number 2 of the standard tier; tried again after 1 failure"
    assert [candidate.model.name for candidate in made.peers] == ["standard"]
    large = decide(chat(tier=Tier.COMPLEX)).first.model
    assert decide(chat(), health=Health(now=NOW, breakers={large.deployment: opened})).peers == ()


@given(requests, st.sampled_from(list(Tier)))
def test_the_same_request_gives_the_same_plan(request: ChatRequest, tier: Tier) -> None:
    assert decide(request, judged_tier=tier) == decide(request, judged_tier=tier)
