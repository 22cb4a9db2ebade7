"""The word vectors, really loaded; skipped where they are not installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing.test_wording import PAIRS, may_share
from tierwise.routing.cache.semantic import Embedder, locate_vectors
from tierwise.routing.errors import SemanticUnavailable
from tierwise.server.settings import SemanticSettings

if TYPE_CHECKING:
    from tierwise.routing.cache.semantic import Vector

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    try:
        return Embedder(locate_vectors(), KEY)
    except SemanticUnavailable as error:
        pytest.skip(str(error))


def cosine(one: "Vector", other: "Vector") -> float:
    return float(one @ other)


def test_similar_texts_have_similar_unit_vectors(embedder: Embedder) -> None:
    capital, same, other = map(
        embedder.embed, ("the capital of France", "France's capital", "a recipe for bread")
    )
    assert cosine(capital, capital) == pytest.approx(1)
    assert cosine(capital, same) > 0.8 > 0.3 > cosine(capital, other)
    assert (capital.shape, capital.dtype.name) == ((256,), "float32")


def test_another_key_turns_every_embedding_and_keeps_the_similarities(embedder: Embedder) -> None:
    turned = Embedder(locate_vectors(), KEY[::-1])
    one, other = "the capital of France", "the capital of Germany"
    assert abs(cosine(embedder.embed(one), turned.embed(one))) < 0.5
    assert cosine(turned.embed(one), turned.embed(other)) == pytest.approx(
        cosine(embedder.embed(one), embedder.embed(other)), abs=1e-4
    )


@given(text=st.text(st.characters(), min_size=1, max_size=50).filter(str.strip))
def test_any_text_is_embedded(embedder: Embedder, text: str) -> None:
    embedding = embedder.embed(text)
    assert cosine(embedding, embedding) == pytest.approx(1, abs=1e-3)


def shares(embedder: Embedder, pairs: list[dict[str, str]], *, guarded: bool, threshold: float) -> float:
    """The part of `pairs` that would share an answer."""
    hits = [
        cosine(embedder.embed(pair["a"]), embedder.embed(pair["b"])) >= threshold
        and (not guarded or may_share(pair["a"], pair["b"]))
        for pair in pairs
    ]
    return sum(hits) / len(hits)


def test_by_default_only_prompts_that_ask_for_the_same_share_an_answer(embedder: Embedder) -> None:
    threshold = SemanticSettings().threshold
    same = [pair for pair in PAIRS if pair["same"]]
    different = [pair for pair in PAIRS if not pair["same"]]
    assert shares(embedder, different, guarded=True, threshold=threshold) == 0
    assert shares(embedder, same, guarded=True, threshold=threshold) > 0.3
    # What the docstring of `essence` says of embeddings alone.
    assert shares(embedder, different, guarded=False, threshold=0.97) > 0.25


def test_the_threshold_keeps_apart_what_the_wording_does_not(embedder: Embedder) -> None:
    assert may_share("How do I look?", "How can I look?")
    assert cosine(embedder.embed("How do I look?"), embedder.embed("How can I look?")) < 0.95


@pytest.mark.parametrize("missing", ["wordllama", "safetensors", "numpy"])
def test_what_is_not_installed_is_said_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SemanticUnavailable, match=r"pip install 'tierwise\[semantic\]'"):
        locate_vectors()


def test_damaged_vectors_are_said_to_need_reinstalling(embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(SemanticUnavailable, match="pip install --force-reinstall"):
        Embedder(tmp_path, KEY)


CALL = """
import json, sys, anyio
from pathlib import Path
from tierwise.routing.engine import open_engine
from tierwise.routing.engine_settings import EngineSettings
from tierwise.routing.request import ChatRequest
from tierwise.routing.settings import LocalSettings
from tierwise.storage.sqlite import open_store

async def main(threshold):
    local = LocalSettings(servers=(), embedded=False)
    settings = EngineSettings(local=local, semantic_threshold=threshold)
    async with (
        open_store(Path(sys.argv[1]), max_cache_bytes=10**6) as store,
        open_engine(settings, store, {}) as engine,
    ):
        call = await engine.start(ChatRequest(prompt="What is the capital of France?"))
        await call.wait(60)
        call.receipt()

anyio.run(main, json.loads(sys.argv[2]))
names = ("numpy", "safetensors", "tokenizers", "wordllama")
print(json.dumps([name for name in names if name in sys.modules]))
"""


@pytest.mark.parametrize(
    ("threshold", "imported"), [(None, []), (0.95, ["numpy", "safetensors", "tokenizers"])]
)
@pytest.mark.usefixtures("embedder")
def test_nothing_is_imported_unless_it_is_asked_for(
    tmp_path: Path, threshold: float | None, imported: list[str]
) -> None:
    paths = [str(Path(path).absolute()) for path in sys.path]
    script = f"import sys; sys.path[:0] = {paths!r}\n{CALL}"
    arguments = [sys.executable, "-c", script, str(tmp_path / "tierwise.db"), json.dumps(threshold)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603  our own script
    assert json.loads(ran.stdout) == imported
