"""Answers shared by prompts that say the same, as users see them."""

import os

import pytest

from tests.fake_provider import FakeProvider
from tests.server.harness import MARKS, PATHS, Installation, chat, structured
from tierwise.routing.cache.semantic import locate_vectors
from tierwise.routing.errors import SemanticUnavailable
from tierwise.server.configuration import load_settings

pytestmark = MARKS

ON = {"caching": {"semantic": {"enabled": True}}}


def needs_vectors() -> None:
    try:
        locate_vectors()
    except SemanticUnavailable as error:
        pytest.skip(str(error))


async def test_a_shared_answer_says_so_and_how_similar_its_prompt_was(
    installation: Installation, fake: FakeProvider
) -> None:
    needs_vectors()
    installation.configure(ON)
    async with installation.client() as client:
        fresh = await chat(client, "What is the capital of France?")
        shared = await chat(client, "What's the capital of France?")
        again = await chat(client, "What is the capital of France?")
    assert len(fake.requests) == 1
    assert (fresh["cached"], shared["cached"], again["cached"]) == (False, "semantic", True)
    assert 0.95 <= shared["similarity"] <= 1
    assert "similarity" not in fresh
    assert "similarity" not in again


async def test_a_comparison_says_so_too(installation: Installation) -> None:
    needs_vectors()
    installation.configure({**ON, "server": {"toolset": "full"}})
    models = ["fake/small", "fake/large"]
    kinds: list[object] = []
    async with installation.client() as client:
        for prompt in ("What is the capital of France?", "What's the capital of France?"):
            asked = await client.call_tool("compare_models", {"prompt": prompt, "models": models})
            kinds += [answer["cached"] for answer in structured(asked)["answers"]]
    assert kinds == [False, False, "semantic", "semantic"]


async def test_without_the_extra_the_setting_says_how_to_install_it(installation: Installation) -> None:
    installation.configure(ON)
    (installation.folder / "wordllama.py").touch()  # stands before the package, and holds no vectors
    installation.environ["PYTHONPATH"] = os.pathsep.join([str(installation.folder), PATHS])
    ran = await installation.run("chat", "Hello")
    assert ran.returncode
    assert "run `pip install 'tierwise[semantic]'`" in " ".join(ran.stderr.decode().split())


def test_it_is_off_until_it_is_switched_on() -> None:
    default = load_settings(config=None, environ={}).caching.semantic
    asked = load_settings(config=None, environ={"TIERWISE_CACHING__SEMANTIC__ENABLED": "true"})
    assert (default.enabled, asked.caching.semantic.enabled) == (False, True)
