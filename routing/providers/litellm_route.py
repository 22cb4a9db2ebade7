"""How a call gets to its provider through litellm, whatever it is for."""

from typing import Any
from urllib.parse import urlsplit

from tierwise.routing.providers.base import UpstreamCall

_COMPATIBLE = "hosted_vllm"
"""litellm's leanest way to an OpenAI-compatible server: a third cheaper than its `openai`."""

_NO_KEY = "no-key"

_SPEAK_OPENAI_UNDER_V1 = frozenset({"ollama", "vllm", "lm_studio", "llamafile"})
"""Local servers that litellm reaches by their own protocol, but whose `/v1` is OpenAI's."""


def addressed(litellm: Any, call: UpstreamCall) -> dict[str, Any]:
    """The arguments that each of litellm's functions takes: where the call goes, with which key, within
    which time, and that nothing is tried twice."""
    route = _route(litellm, call)
    # Without a key litellm would send the one in OPENAI_API_KEY to whoever is behind `api_base`.
    keyless = call.api_base and (route == "openai" or route in litellm.openai_compatible_providers)
    optional = {"api_base": call.api_base, "api_key": call.api_key or (_NO_KEY if keyless else None)}
    return {
        "model": f"{route}/{call.model}",
        "timeout": call.timeout,
        "num_retries": 0,
        "max_retries": 0,
        "drop_params": True,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _route(litellm: Any, call: UpstreamCall) -> str:
    """Which of litellm's providers carries the call."""
    if not call.api_base:
        return call.provider
    base = urlsplit(call.api_base)
    known = call.provider in litellm.provider_list and call.provider != "litellm_proxy"
    if not known or (call.provider in _SPEAK_OPENAI_UNDER_V1 and base.path.rstrip("/").endswith("/v1")):
        return _COMPATIBLE
    # Behind a gateway OpenAI's own models still need the parameter rules of litellm's `openai`.
    foreign = not (base.hostname or "").endswith("openai.com")
    own_model = call.model in litellm.open_ai_chat_completion_models
    return _COMPATIBLE if call.provider == "openai" and foreign and not own_model else call.provider
