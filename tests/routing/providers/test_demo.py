"""The provider that answers when no model can be called."""

import pytest

from tierwise.routing.errors import ModelNotFound
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.demo import DEMO_MODELS, DemoProvider
from tierwise.routing.request import Message, Payload

pytestmark = pytest.mark.anyio


def call(model: str = "small", prompt: str = "What is the capital of France?") -> UpstreamCall:
    return UpstreamCall(
        provider="demo", model=model, payload=Payload(messages=(Message("user", prompt),)), timeout=5
    )


@pytest.mark.parametrize("model", DEMO_MODELS)
async def test_the_answer_says_that_no_model_was_called_and_what_to_set(model: str) -> None:
    answer = await DemoProvider().complete(call(model))
    for phrase in (
        "No model was called",
        f"demo/{model}",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "pip install",
    ):
        assert phrase in answer.content
    assert answer.finish_reason == "stop"


async def test_the_same_prompt_gets_the_same_answer() -> None:
    assert await DemoProvider().complete(call()) == await DemoProvider().complete(call())


async def test_the_prompt_is_not_echoed() -> None:
    prompt = "a secret sentence " * 1000
    answer = await DemoProvider().complete(call(prompt=prompt))
    assert "secret" not in answer.content
    assert len(answer.content) < 1000


async def test_tokens_are_estimated_at_four_characters_each() -> None:
    answer = await DemoProvider().complete(call(prompt="x" * 401))
    assert answer.usage.estimated
    assert answer.usage.input_tokens == 101
    assert answer.usage.output_tokens == pytest.approx(len(answer.content) / 4, abs=1)


async def test_a_stream_hands_over_a_few_pieces_that_make_up_the_answer() -> None:
    pieces: list[str] = []
    answer = await DemoProvider().complete(call(), pieces.append)
    assert 2 <= len(pieces) <= 10
    assert "".join(pieces) == answer.content


async def test_an_unknown_demo_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelNotFound, match="small, standard, large"):
        await DemoProvider().complete(call("huge"))
