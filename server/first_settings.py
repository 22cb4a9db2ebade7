"""The settings file that `tierwise init` writes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.local import LocalServer, ladder
from tierwise.routing.catalog.models import Model
from tierwise.routing.request import Tier

_OF_TIER = {
    Tier.SIMPLE: "scores below 0.3: lookups, small edits, small talk",
    Tier.STANDARD: "everyday work",
    Tier.COMPLEX: "scores from 0.7: designs, proofs, hard bugs",
}

_HEAD = """\
# What tierwise runs with. Every key is optional, and an unknown one is an error: `tierwise doctor` looks.
# API keys do not belong here. They are read from the environment, or from the file that --env-file names.
"""

_REST = """
[caching]
enabled = true
ttl_seconds = 3600                   # for how long an answer serves the same call again

[reliability]
deadline = 600                       # seconds for a whole call, with all that is tried

# [litellm]
# fallback_chain = ["provider/model"]  # tried when all models of the tiers have failed
#
# [litellm.providers.gateway]          # any OpenAI-compatible server or LiteLLM proxy
# api_base = "http://127.0.0.1:4000/v1"
# api_key_env = "GATEWAY_API_KEY"      # the variable's name, never the key
#
# [usage_tracking]
# time_zone = "Europe/Berlin"          # whose days are counted; default: the machine's
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user decided, or what is usual."""

    local: LocalServer | None = None
    """Its smallest model answers simple prompts first, though there are keys."""
    monthly_limit_usd: float | None = None


def first_settings(catalog: Catalog, choices: Choices) -> str:
    """A settings file, in TOML with comments, under which the tiers are those of `catalog`.

    Tiers that follow the providers whose keys are set are written out, so that they can be changed; others
    stand for what was found on this machine today, and are left to be found again.
    """
    parts = [_HEAD]
    if any(model.key_variable for models in catalog.tiers.values() for model in models):
        parts += [*_local(choices.local), *_rules(catalog, choices.local)]
    else:
        parts.append(_found_rules(catalog))
    parts.append(_budget(choices.monthly_limit_usd))
    return "".join([*parts, _REST])


def _local(server: LocalServer | None) -> Iterator[str]:
    if server:
        name = f"{server.name}/{_smallest(server)}"
        yield f"\n[litellm.providers.{_quoted(server.name)}]\napi_base = {_quoted(server.base_url)}\n"
        yield f"\n[usage_tracking.pricing]             # USD per million tokens\n{_quoted(name)} = "
        yield "{ input = 0, output = 0 }\n"


def _rules(catalog: Catalog, local: LocalServer | None) -> Iterator[str]:
    yield "\n# The models of each tier are tried in order, then those of the tiers above.\n"
    for tier in Tier:
        yield f"[model_routing.rules.{tier}]  # {_OF_TIER[tier]}\nmodel = [\n"
        if local and tier is Tier.SIMPLE:
            yield f"  {_quoted(f'{local.name}/{_smallest(local)}')},  # on this machine\n"
        yield from (f"  {_quoted(_full_name(model))},{_price(model)}\n" for model in catalog.tiers[tier])
        yield "]\n"


def _found_rules(catalog: Catalog) -> str:
    serving = " ".join(f"{tier}: {_names(catalog.tiers[tier])}." for tier in Tier)
    return (
        "\n# Without rules and keys, what is found on this machine serves. Today that is\n"
        f"# {serving}\n"
        "# To choose yourself, name models; once a key is set, its provider's models serve without that.\n"
        '# [model_routing.rules.simple]\n# model = ["provider/model"]\n'
    )


def _budget(limit_usd: float | None) -> str:
    mark = "" if limit_usd is not None else "# "
    lines = (
        "[[budgets]]                          # each attempt is held against it before it is made",
        'name = "monthly"',
        'period = "month"                     # day, week, month or total',
        f"limit_usd = {50 if limit_usd is None else format(limit_usd, 'f').rstrip('0').rstrip('.')}",
        'at_limit = "downgrade"               # to the cheapest model that can serve; or "refuse", or "warn"',
    )
    return "\n" + "".join(f"{mark}{line}\n" for line in lines)


def _smallest(server: LocalServer) -> str:
    return ladder(server.models)[Tier.SIMPLE][0]


def _names(models: Sequence[Model]) -> str:
    return ", ".join(_full_name(model) for model in models)


def _full_name(model: Model) -> str:
    return f"{model.provider}/{model.name}"


def _price(model: Model) -> str:
    if model.price is None:
        return "  # price unknown"
    rates = model.price.rates
    return f"  # ${rates.input / 1e6:g} in, ${rates.output / 1e6:g} out per million tokens"


def _quoted(text: str) -> str:
    """A TOML string; JSON's are some of them, once nothing is in it that cannot be printed."""
    return json.dumps(text, ensure_ascii=False)
