"""Which models an installation has: by settings, by keys, by what runs on the machine."""

from datetime import date
from typing import Any

import pytest

from tests.routing.bench import only, rules
from tests.routing.catalogs import TODAY, catalog
from tierwise.routing.catalog.models import LocalModels, Model
from tierwise.routing.catalog.price_map import PriceMap
from tierwise.routing.errors import UnknownModel
from tierwise.routing.money.pricing import FREE
from tierwise.routing.request import Tier
from tierwise.routing.settings import ModelPrice, ProviderSettings

LOCAL = LocalModels("ollama", "http://127.0.0.1:11434/v1", dict.fromkeys(Tier, ("llama3.2:3b",)))
MINE = {
    "mine": ProviderSettings(api_base="http://10.0.0.1/v1", models={"fast": "small-1", "big": "mine/large-1"})
}


def ids(models: tuple[Model, ...]) -> list[str]:
    return [model.id for model in models]


# Where the tiers come from


def test_rules_win_over_keys_and_a_tier_without_a_rule_has_no_models() -> None:
    made = catalog(rules(("gpt-4o-mini", "gpt-4o"), (), ("gpt-4.1",)), environ={"ANTHROPIC_API_KEY": "k"})
    assert {tier: ids(made.tiers[tier]) for tier in Tier} == {
        Tier.SIMPLE: ["gpt-4o-mini", "gpt-4o"],
        Tier.STANDARD: [],
        Tier.COMPLEX: ["gpt-4.1"],
    }
    assert made.source == "model_routing.rules"


def test_the_tiers_follow_the_keys_with_the_cheapest_provider_first() -> None:
    made = catalog(environ={"ANTHROPIC_API_KEY": "k", "GROQ_API_KEY": "k", "OPENAI_API_KEY": ""})
    for tier in Tier:
        assert {model.provider for model in made.tiers[tier]} == {"anthropic", "groq"}
        blended = [
            3 * model.price.rates.input + model.price.rates.output
            for model in made.tiers[tier]
            if model.price
        ]
        assert blended == sorted(blended)
        assert len(blended) == 2
    assert "keys" in made.source


def test_a_key_under_a_variable_of_the_users_own_counts() -> None:
    providers = {"anthropic": ProviderSettings(api_key_env="WORK_KEY")}
    assert not any(catalog(environ={"ANTHROPIC_API_KEY": "k"}, providers=providers).tiers.values())
    made = catalog(environ={"WORK_KEY": "k"}, providers=providers)
    assert {model.provider for models in made.tiers.values() for model in models} == {"anthropic"}


def test_a_model_past_its_deprecation_is_never_chosen_by_default() -> None:
    made = catalog(environ={"ANTHROPIC_API_KEY": "k"}, today=date(2099, 1, 1))
    known = [model for model in made.tiers[Tier.SIMPLE] if model.deprecation_date]
    assert known == []
    entry: dict[str, Any] = {
        "mode": "chat",
        "litellm_provider": "anthropic",
        "deprecation_date": "2026-11-21",
    }
    for today, expected in [(date(2026, 11, 20), ["anthropic/claude-haiku-5-5"]), (date(2026, 11, 21), [])]:
        made = catalog(
            environ={"ANTHROPIC_API_KEY": "k"}, price_map=PriceMap({"claude-haiku-5-5": entry}), today=today
        )
        assert ids(made.tiers[Tier.SIMPLE]) == expected


def test_a_deprecated_model_that_the_user_names_is_used() -> None:
    entry: dict[str, Any] = {"mode": "chat", "litellm_provider": "openai", "deprecation_date": "2020-01-01"}
    (model,) = catalog(only("gpt-old"), price_map=PriceMap({"gpt-old": entry})).tiers[Tier.STANDARD]
    assert model.past_deprecation(TODAY)


def test_without_a_key_the_default_model_serves_every_tier() -> None:
    made = catalog(default_model="mine/small-1", providers=MINE, local=LOCAL)
    assert [ids(made.tiers[tier]) for tier in Tier] == [["mine/small-1"]] * 3
    assert made.source == "litellm.default_model"


def test_without_a_key_or_a_default_the_machines_own_models_serve_for_nothing() -> None:
    made = catalog(local=LOCAL)
    (model,) = made.tiers[Tier.COMPLEX]
    assert (model.id, model.provider, model.name) == ("ollama/llama3.2:3b", "ollama", "llama3.2:3b")
    assert (model.api_base, model.price, model.key_present) == (LOCAL.api_base, FREE, True)
    assert made.resolve("llama3.2:3b") == model


def test_with_nothing_at_all_the_tiers_are_empty() -> None:
    assert not any(catalog().tiers.values())


# Names


@pytest.mark.parametrize(
    ("name", "provider", "upstream"),
    [
        ("fast", "mine", "small-1"),
        ("small-1", "mine", "small-1"),
        ("mine/small-1", "mine", "small-1"),
        ("big", "mine", "large-1"),
        ("large-1", "mine", "large-1"),
        ("mine/any/thing:7b", "mine", "any/thing:7b"),
        ("gpt-5.9-mini", "openai", "gpt-5.9-mini"),
        ("claude-opus-5-5", "anthropic", "claude-opus-5-5"),
        ("openrouter/anthropic/claude-opus-5-5", "openrouter", "anthropic/claude-opus-5-5"),
        ("groq/openai/gpt-oss-20b", "groq", "openai/gpt-oss-20b"),
        ("ollama/llama3.2", "ollama", "llama3.2"),
        ("demo/small", "demo", "small"),
    ],
)
def test_a_name_finds_its_provider(name: str, provider: str, upstream: str) -> None:
    model = catalog(providers=MINE).resolve(name)
    assert (model.provider, model.name) == (provider, upstream)


def test_all_names_of_a_model_are_one_model() -> None:
    made = catalog(providers=MINE)
    assert made.resolve("fast") is made.resolve("small-1") is made.resolve("mine/small-1")


@pytest.mark.parametrize("name", ["fsat", "nobody/gpt-4o", "", "/", "mine/", "claud", "x" * 10_000, "\0"])
def test_a_name_that_means_nothing_is_unknown_and_told_in_a_short_sentence(name: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        catalog(providers=MINE).resolve(name)
    assert len(str(caught.value)) < 400


def test_the_nearest_names_are_the_users_own() -> None:
    with pytest.raises(UnknownModel, match="Did you mean fast"):
        catalog(providers=MINE).resolve("fsat")


def test_an_unknown_name_in_the_settings_is_told_when_the_catalogue_is_built() -> None:
    with pytest.raises(UnknownModel, match="no-such-model"):
        catalog(only("no-such-model"))
    with pytest.raises(UnknownModel, match="no-such-model"):
        catalog(fallback_chain=("no-such-model",))


# What is known of a model


def test_the_users_price_goes_before_the_maps_under_any_of_the_models_names() -> None:
    mine = ModelPrice(input=1, output=2)
    for name in ("gpt-4o", "openai/gpt-4o"):
        model = catalog(pricing={name: mine}).resolve("gpt-4o")
        assert model.price is not None
        assert model.price.rates.input == 1_000_000
        assert model.price_note == "price from usage_tracking.pricing"


def test_an_unknown_price_comes_with_what_to_set() -> None:
    model = catalog(providers=MINE).resolve("fast")
    assert model.price is None
    assert model.price_note == "no price is known for small-1: set usage_tracking.pricing"


def test_window_and_capabilities_come_from_the_map() -> None:
    model = catalog().resolve("gpt-4o-2024-08-06")
    assert (model.context_window, model.max_output_tokens) == (128_000, 16_384)
    assert model.capabilities is not None
    assert {"vision", "function_calling"} <= set(model.capabilities)
    assert list(model.capabilities) == sorted(model.capabilities)


@pytest.mark.parametrize(
    ("name", "environ", "variable", "present"),
    [
        ("gpt-4o", {}, "OPENAI_API_KEY", False),
        ("gpt-4o", {"OPENAI_API_KEY": "k"}, "OPENAI_API_KEY", True),
        ("gpt-4o", {"OPENAI_API_KEY": ""}, "OPENAI_API_KEY", False),
        ("gemini/gemini-3.8-flash", {"GOOGLE_API_KEY": "k"}, "GOOGLE_API_KEY", True),
        ("gemini/gemini-3.8-flash", {}, "GEMINI_API_KEY", False),
        ("deepinfra/some/model", {}, "DEEPINFRA_API_KEY", False),
        ("ollama/llama3.2", {}, None, True),
        ("bedrock/anthropic.claude-opus-5-5", {}, None, True),
        ("mine/small-1", {}, None, True),
        ("mine/small-1", {"MINE_API_KEY": "k"}, "MINE_API_KEY", True),
        ("demo/small", {}, None, True),
    ],
)
def test_a_model_says_which_key_it_needs_and_whether_it_is_there(
    name: str, environ: dict[str, str], variable: str | None, present: bool
) -> None:
    model = catalog(environ=environ, providers=MINE).resolve(name)
    assert (model.key_variable, model.key_present) == (variable, present)


def test_no_key_is_ever_part_of_the_catalogue() -> None:
    made = catalog(environ={"OPENAI_API_KEY": "sk-very-secret"})
    assert "sk-very-secret" not in repr(made) + repr(list(made.models()))


def test_each_model_is_listed_once_with_all_its_tiers() -> None:
    made = catalog(
        rules(("fast",), ("fast", "big"), ("big",)),
        providers=MINE,
        default_model="mine/small-1",
        fallback_chain=("big", "gpt-4o"),
    )
    assert [(model.name, tiers) for model, tiers in made.models()] == [
        ("small-1", (Tier.SIMPLE, Tier.STANDARD)),
        ("large-1", (Tier.STANDARD, Tier.COMPLEX)),
        ("gpt-4o", ()),
    ]
    assert made.tier_of(made.resolve("big")) is Tier.STANDARD
    assert made.tier_of(made.resolve("gpt-4o")) is None


def test_a_model_that_the_map_no_longer_lists_is_flagged_and_keeps_the_users_price() -> None:
    retired = catalog(pricing={"claude-sonnet-4-20250514": ModelPrice(input=3, output=15)}).resolve(
        "claude-sonnet-4-20250514"
    )
    assert retired.price is not None
    assert "perhaps retired" in (retired.warning(TODAY) or "")
    assert catalog().resolve("claude-opus-5-5").warning(TODAY) is None
    assert catalog(providers=MINE).resolve("mine/anything").warning(TODAY) is None


def test_a_server_of_the_users_own_costs_nothing_unless_they_say_so() -> None:
    assert catalog().resolve("ollama/llama3.2:70b").price == FREE
    priced = catalog(pricing={"ollama/llama3.2:70b": ModelPrice(input=1, output=1)})
    assert priced.resolve("ollama/llama3.2:70b").price != FREE


def test_a_tier_with_no_rule_for_it_or_above_gets_the_default_model_or_what_is_below() -> None:
    below = catalog(rules(("gpt-4o-mini",), (), ()))
    assert [ids(below.tiers[tier]) for tier in Tier] == [["gpt-4o-mini"]] * 3
    default = catalog(rules(("gpt-4o-mini",), (), ()), default_model="gpt-4.1")
    assert [ids(default.tiers[tier]) for tier in Tier] == [["gpt-4o-mini"], ["gpt-4.1"], ["gpt-4.1"]]


def test_a_name_in_the_settings_that_is_no_model_is_told_with_its_key() -> None:
    name = "nosuchmodel"
    with pytest.raises(UnknownModel, match=r"litellm\.default_model.*nosuchmodel"):
        catalog(default_model=name)
    with pytest.raises(UnknownModel, match=r"litellm\.fallback_chain.*nosuchmodel"):
        catalog(fallback_chain=(name,))
    with pytest.raises(UnknownModel, match=r"model_routing\.rules\.standard\.model"):
        catalog(only(name))


def test_a_bare_name_finds_the_model_of_the_settings_and_keeps_its_spelling_there() -> None:
    made = catalog(only("mine/small-9"), providers=MINE)
    assert made.resolve("small-9").id == "mine/small-9"
    assert made.resolve("openai/gpt-4o").id == catalog().resolve("gpt-4o").id == "openai/gpt-4o"


@pytest.mark.parametrize("key", ["sk-\N{HORIZONTAL ELLIPSIS}", "a\x00b"])
def test_a_key_that_cannot_be_one_counts_as_missing_and_is_told(key: str) -> None:
    model = catalog(environ={"OPENAI_API_KEY": key}).resolve("gpt-4o")
    assert not model.key_present
    assert "no key has" in model.key_fault
