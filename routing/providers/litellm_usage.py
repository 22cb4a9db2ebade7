"""What litellm's responses say of usage and cost. Providers are not believed whatever they say."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, cast

from tierwise.storage.records import Usage

_MOST_TOKENS = 10**9
"""No model reads or writes as many."""
_CHARACTERS_IN_A_TOKEN = 128
"""The longest token of OpenAI's o200k_base is 128 spaces."""
_MOST_USD = 10_000
"""No answer costs as much: a million tokens of the dearest models are below $1,000."""
_NANO_PER_USD = 10**9
_MOST_SECONDS = 7 * 24 * 3600
"""No recording of the size that can be sent is longer."""

_COST_HEADER = "llm_provider-x-litellm-response-cost"
"""Under which litellm hands on what a LiteLLM proxy says."""

_FALLBACKS_HEADER = "llm_provider-x-litellm-attempted-fallbacks"
_MODEL_HEADER = "llm_provider-x-litellm-model-group"
_LONGEST_NAME = 200

_CACHED = ("cached_tokens", "num_cached_tokens")
"""What Moonshot and Mistral call the tokens read from a cache, beside the tokens that were sent."""

_SERVICE_TIERS = {
    "batch": "batch",
    "flex": "flex",
    "on_demand_flex": "flex",
    "balanced": "balanced",
    "priority": "priority",
    "on_demand_priority": "priority",
    "fast": "priority",
    "ultrafast": "ultrafast",
}
"""Of what providers call their service, that which has a price of its own. `fast` has that of `priority`,
as in litellm's cost calculator; Vertex AI says `ON_DEMAND_…`."""


def read_usage(summary: Any, sent: Any, *, characters: int) -> Usage | None:
    """The usage in litellm's responses, None if there is none to be believed: no answer of so many
    `characters` takes fewer tokens than it has room for.

    Of a stream, `summary` is the chunk in which litellm sums up, with cached prompt tokens and reasoning
    counted in for every provider, and `sent` is the last one that came with a usage; else they are one.
    """
    usage = _get(summary, "usage")
    read, made = _get(usage, "prompt_tokens_details"), _get(usage, "completion_tokens_details")
    kept = _get(read, "cache_creation_token_details")
    input_tokens, output_tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    fewest = -(-characters // _CHARACTERS_IN_A_TOKEN)
    if not 0 < input_tokens < _MOST_TOKENS or not fewest <= output_tokens < _MOST_TOKENS:
        return None
    cached = _count(read, "cached_tokens") or max(_counts(_get(sent, "usage"), *_CACHED))
    cache_read, cache_write, audio_input, image_input = _shares(
        input_tokens, cached, *_counts(read, "cache_creation_tokens", "audio_tokens", "image_tokens")
    )
    reasoning, audio_output, image_output = _shares(
        output_tokens, *_counts(made, "reasoning_tokens", "audio_tokens", "image_tokens")
    )
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_1h_tokens=min(_count(kept, "ephemeral_1h_input_tokens"), cache_write),
        audio_input_tokens=audio_input,
        image_input_tokens=image_input,
        reasoning_tokens=reasoning,
        audio_output_tokens=audio_output,
        image_output_tokens=image_output,
        service_tier=_service_tier(summary, sent),
    )


def read_image_usage(response: Any) -> Usage:
    """The tokens that images took; none where the provider reports none."""
    usage = read_usage(response, response, characters=1)
    if usage is None:
        return Usage()
    said = _get(response, "usage")
    # Gemini counts what it thinks in the total alone.
    thought = max(min(_count(said, "total_tokens"), _MOST_TOKENS) - usage.total_tokens, 0)
    whole = usage.output_tokens if _get(response, "data") else 0
    drawn = _count(_get(said, "output_tokens_details"), "image_tokens") or whole
    return replace(
        usage,
        output_tokens=usage.output_tokens + thought,
        reasoning_tokens=thought,
        image_output_tokens=min(drawn, usage.output_tokens),
    )


def read_transcription_usage(response: Any) -> Usage:
    """The tokens or the time that a transcription took; nothing where the provider reports neither."""
    said = _get(response, "usage")
    heard, written = _count(said, "input_tokens"), _count(said, "output_tokens")
    [audio] = _shares(heard, _count(_get(said, "input_token_details"), "audio_tokens"))
    seconds = _seconds(said, "seconds") or _seconds(response, "duration")
    counted = 0 < heard < _MOST_TOKENS and written < _MOST_TOKENS
    tokens = Usage(input_tokens=heard, output_tokens=written, audio_input_tokens=audio)
    return replace(tokens if counted else Usage(), audio_ms=round(seconds * 1000))


def read_cost(sent: Any, headers: Mapping[str, Any]) -> int | None:
    """What the provider says that it charges, in nano-USD; None if it does not say, or nothing credible.

    OpenRouter, xAI and Perplexity say it in the usage, LiteLLM proxies in a header. A 0 is believed only
    of OpenRouter, which has models that are free: others say it where they know no price.
    """
    usage = _get(sent, "usage")
    cost, details = _get(usage, "cost"), _get(usage, "cost_details")
    said = _nano_usd(_get(cost, "total_cost") if isinstance(cost, Mapping) else cost)
    if said is not None and _get(usage, "is_byok") is True:
        # OpenRouter's own share; the rest is charged to the user's account with the provider.
        upstream = _nano_usd(_get(details, "upstream_inference_cost"))
        return None if upstream is None else said + upstream
    if said is not None and details is not None:
        return said
    return said or _nano_usd(headers.get(_COST_HEADER)) or None


def read_stand_in(headers: Mapping[str, Any]) -> str | None:
    """The model that a LiteLLM proxy fell back to by itself; None if it did not."""
    model = headers.get(_MODEL_HEADER)
    if headers.get(_FALLBACKS_HEADER, "0") == "0" or not isinstance(model, str):
        return None
    return model if model.isprintable() and len(model) <= _LONGEST_NAME else None


def headers_of(response: Any) -> dict[str, Any]:
    """Those of the provider, as litellm names them."""
    return response._hidden_params.get("additional_headers") or {}


def _seconds(owner: Any, name: str) -> float:
    seconds = _get(owner, name)
    plausible = isinstance(seconds, int | float) and 0 < seconds < _MOST_SECONDS
    return float(seconds) if plausible else 0.0


def _shares(whole: int, *parts: int) -> list[int]:
    """The parts of `whole`, cut off where they come to more than it."""
    shares: list[int] = []
    for part in parts:
        shares.append(min(part, whole))
        whole -= shares[-1]
    return shares


def _counts(owner: Any, *names: str) -> list[int]:
    return [_count(owner, name) for name in names]


def _service_tier(summary: Any, sent: Any) -> str:
    extras = _get(_get(sent, "_hidden_params"), "provider_specific_fields")
    said = (
        _get(summary, "service_tier"),
        _get(_get(sent, "usage"), "service_tier"),
        _get(extras, "traffic_type"),
    )
    named = next((name for name in said if isinstance(name, str)), "")
    return _SERVICE_TIERS.get(named.lower(), "")


def _nano_usd(dollars: Any) -> int | None:
    if isinstance(dollars, bool) or not isinstance(dollars, int | float | str):
        return None
    try:
        amount = Decimal(str(dollars))
    except (InvalidOperation, ValueError):
        return None
    credible = amount.is_finite() and 0 <= amount <= _MOST_USD
    return round(amount * _NANO_PER_USD) if credible else None


def _count(owner: Any, name: str) -> int:
    count = _get(owner, name)
    return max(int(count), 0) if isinstance(count, int | float) and isfinite(count) else 0


def _get(owner: Any, name: str) -> Any:
    """What is called `name` in an object of litellm's, or in a plain one that it passed on."""
    if isinstance(owner, Mapping):
        return cast("Mapping[str, Any]", owner).get(name)
    return getattr(owner, name, None)
