"""Answers that are shared by prompts which say the same."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fake_provider import FakeProvider, ok
from tests.routing.bench import MARKS, answer_of, litellm, running
from tierwise.routing.cache.semantic import locate_vectors
from tierwise.routing.errors import SemanticUnavailable
from tierwise.routing.request import Message, Tier
from tierwise.routing.settings import ProviderSettings
from tierwise.storage.ports import Store
from tierwise.storage.sqlite import open_store

try:
    locate_vectors()
    missing = ""
except SemanticUnavailable as error:
    missing = str(error)

pytestmark = [*MARKS, pytest.mark.skipif(bool(missing), reason=missing)]

PROMPT = "What is the capital of France?"
ALIKE = "what's the capital of France"
ON: dict[str, Any] = {"semantic_threshold": 0.9}
ETERNITY = 2**52


async def test_a_prompt_that_says_the_same_is_served_the_same_answer(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, **ON) as bench:
        fresh, hit = await bench.ask(prompt=PROMPT), await bench.ask(prompt=ALIKE)
        assert bench.upstream == ["standard"]
        (row,) = await store.usage(start=0, end=ETERNITY)
    assert (hit.content, hit.model, hit.cached, hit.cost) == (fresh.content, fresh.model, True, 0)
    assert fresh.similarity is None
    assert hit.similarity is not None
    assert 0.9 <= hit.similarity < 1
    assert (row.calls, row.cached_calls, row.cost_nano_usd) == (2, 1, fresh.cost)


async def test_the_same_prompt_is_still_served_as_itself(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt=PROMPT)
        again = await bench.ask(prompt=PROMPT)
    assert (again.cached, again.similarity) == (True, None)


async def test_without_the_setting_no_answer_is_shared(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        assert not (await bench.ask(prompt=PROMPT)).cached
        assert not (await bench.ask(prompt=ALIKE)).cached


@pytest.mark.parametrize("threshold", [0.99999, 1.0])
async def test_below_the_threshold_no_answer_is_shared(
    fake: FakeProvider, store: Store, threshold: float
) -> None:
    async with running(fake, store, semantic_threshold=threshold) as bench:
        await bench.ask(prompt=PROMPT)
        assert not (await bench.ask(prompt=ALIKE)).cached


async def test_the_most_similar_of_several_serves(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", ok(content="to the question"), ok(content="to the plea"))
    async with running(fake, store, semantic_threshold=0.99) as bench:
        await bench.ask(prompt="Explain recursion")
        await bench.ask(prompt="Please explain recursion, thanks")
        assert len(bench.upstream) == 2
    async with running(fake, store, semantic_threshold=0.5) as bench:
        assert (await bench.ask(prompt="Please explain recursion, thanks!")).content == "to the plea"
        assert (await bench.ask(prompt="explain recursion.")).content == "to the question"


HISTORY = (Message("user", "Hello"), Message("assistant", "Hi"))
SCOPES: dict[str, dict[str, Any]] = {
    "another model": {"model": "fake/peer", "tier": None},
    "another tier": {"tier": Tier.SIMPLE},
    "another limit": {"max_tokens": 100},
    "another temperature": {"temperature": 0.5},
    "a system prompt": {"system_prompt": "Be brief."},
    "a history": {"history": HISTORY},
    "a refusal of the cache": {"use_cache": False},
    "another country": {"prompt": "What is the capital of Germany?"},
}


@pytest.mark.parametrize("change", SCOPES.values(), ids=SCOPES)
async def test_two_scopes_never_mix(fake: FakeProvider, store: Store, change: dict[str, Any]) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt=PROMPT)
        changed: dict[str, Any] = {"prompt": ALIKE} | change
        assert not (await bench.ask(**changed)).cached


TOO_CLOSE = [
    ("Convert 10 km to miles", "Convert 100 km to miles"),
    ("How do I convert miles to kilometers?", "How do I convert kilometers to miles?"),
    ("Is it safe to eat raw eggs?", "Is it not safe to eat raw eggs?"),
    ("Is polish a word?", "Is Polish a word?"),
    ("What does `ls -l` do?", "What does `ls -L` do?"),
]


@pytest.mark.parametrize(("one", "other"), TOO_CLOSE)
async def test_what_similarity_cannot_tell_apart_is_not_shared(
    fake: FakeProvider, store: Store, one: str, other: str
) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt=one)
        assert not (await bench.ask(prompt=other)).cached


async def test_after_the_same_history_an_answer_is_shared(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt=PROMPT, history=HISTORY, system_prompt="Be brief.")
        assert (await bench.ask(prompt=ALIKE, history=HISTORY, system_prompt="Be brief.")).cached
        assert not (await bench.ask(prompt=ALIKE, history=HISTORY[:1], system_prompt="Be brief.")).cached


async def test_another_endpoint_shares_no_answer(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt=PROMPT)
    elsewhere = {"fake": ProviderSettings(api_base=fake.url.replace("127.0.0.1", "localhost"))}
    async with running(fake, store, litellm=litellm(fake, providers=elsewhere), **ON) as bench:
        assert not (await bench.ask(prompt=ALIKE)).cached


async def test_an_expired_answer_is_not_shared(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, cache_ttl_ms=0, **ON) as bench:
        await bench.ask(prompt=PROMPT)
        assert not (await bench.ask(prompt=ALIKE)).cached


async def test_a_prompt_too_long_to_be_embedded_is_answered_afresh(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt="word " * 401)
        assert not (await bench.ask(prompt="Please word " + "word " * 400)).cached


async def test_a_lone_surrogate_is_no_obstacle(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt="What is this \U0001f600 sign")
        assert (await bench.ask(prompt="what is this \U0001f600 sign?")).cached


async def test_calls_in_flight_share_an_answer_alike(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, **ON) as bench:
        await bench.ask(prompt=PROMPT)
        calls = [await bench.start(prompt=ALIKE) for _ in range(3)]
        receipts = [await answer_of(call) for call in calls]
        assert len(bench.upstream) == 1
    assert len({receipt.similarity for receipt in receipts}) == 1
    assert all(receipt.cached and receipt.cost == 0 for receipt in receipts)


async def test_no_prompt_lies_in_the_database_file(fake: FakeProvider, tmp_path: Path) -> None:
    canary = "Where does the ultramarine canary Zyxomma sleep tonight?"
    fake.always("standard", ok(content="In a nest."))
    async with open_store(tmp_path / "tierwise.db", max_cache_bytes=1_000_000) as store:
        async with running(fake, store, **ON) as bench:
            await bench.ask(prompt=canary)
            assert (await bench.ask(prompt=canary[:-1])).similarity is not None
        files = [path for path in tmp_path.iterdir() if path.is_file()]
        held = b"".join(path.read_bytes() for path in files).lower()
    assert len(held) > 4096
    assert not [word for word in ("ultramarine", "canary", "zyxomma", "tonight") if word.encode() in held]


async def test_vectors_that_cannot_be_loaded_cost_no_call(
    fake: FakeProvider,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for file in ("tokenizers/l2_supercat_tokenizer_config.json", "weights/l2_supercat_256.safetensors"):
        path = tmp_path / "wordllama" / file
        path.parent.mkdir(parents=True)
        path.write_bytes(b"damaged")
    (tmp_path / "wordllama" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    async with running(fake, store, **ON) as bench:
        for prompt in (PROMPT, ALIKE, ALIKE + "!"):
            assert not (await bench.ask(prompt=prompt)).cached
    assert caplog.text.count("force-reinstall") == 1


async def test_without_the_extra_the_engine_says_how_to_install_it(
    fake: FakeProvider, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(BaseExceptionGroup) as raised:
        async with running(fake, store, **ON):
            pass
    assert "pip install 'tierwise[semantic]'" in str(raised.value.exceptions[0])
