"""Static word embeddings: a text as the direction of the sum of its tokens' vectors.

The vectors, 256 numbers for each of 32,000 tokens, are data in the wheel `wordllama` (MIT, 16 MB), whose
code is never imported: it looks for them where they are not, and then asks the network.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tierwise.routing.errors import SemanticUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

EMBEDDING_SPACE = "wordllama l2_supercat 256"
"""Names what is embedded and how: embeddings can be compared only where this is the same."""
MAX_CHARS = 2000
"""Longer texts are not worth embedding: one vector says too little of them. Bounds the time as well."""

_FILES = _TOKENIZER, _VECTORS = (
    Path("tokenizers", "l2_supercat_tokenizer_config.json"),
    Path("weights", "l2_supercat_256.safetensors"),
)
_SIZE = 256
"""Numbers in an embedding."""


def locate_vectors() -> Path:
    """The folder of the installed `wordllama`. Looks only; imports and loads nothing.

    Raises:
        SemanticUnavailable: it or a package that reads it is not installed, or it is not whole.
    """
    package = find_spec("wordllama")
    folders = [Path(folder) for folder in (package and package.submodule_search_locations) or ()]
    whole = [folder for folder in folders if all((folder / file).is_file() for file in _FILES)]
    if not whole or not all(map(find_spec, ("numpy", "safetensors", "tokenizers"))):
        raise SemanticUnavailable(
            "caching.semantic is on, but the word vectors that it needs are not installed: "
            "run `pip install 'tierwise[semantic]'`, or set caching.semantic.enabled = false."
        )
    return whole[0]


class Embedder:
    """Embeds texts, turned by a secret rotation. Made in a thread: loading takes 0.3 s.

    An embedding in the open gives its text away: from those of short prompts nearly every word was
    recovered, since the vectors of all words are public. The rotation, drawn from `key`, keeps
    similarities between embeddings and hides them from whoever has a copy of the database alone.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        """Raises `SemanticUnavailable` if the installed files cannot be loaded."""
        try:
            import numpy as np
            from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
            self._vectors = cast("Vector", load_file(folder / _VECTORS)["embedding.weight"])
        except Exception as error:  # tokenizers raises nothing narrower
            raise SemanticUnavailable(
                "The word vectors of caching.semantic cannot be loaded: "
                "run `pip install --force-reinstall 'tierwise[semantic]'`."
            ) from error
        # The legacy generator: its numbers are promised to stay the same in every later numpy.
        normal = np.random.RandomState(np.frombuffer(key, "<u4")).standard_normal((_SIZE, _SIZE))
        self._rotation: Vector = np.linalg.qr(normal)[0].astype(np.float32)

    def embed(self, text: str) -> "Vector":
        """A unit vector of 256 numbers; case does not count. 0.5 ms for 2,000 characters.

        `text` has a character that is not white space.
        """
        clean = text.lower().encode("utf-8", "replace").decode()  # no lone halves of surrogate pairs
        tokens: list[int] = self._tokenizer.encode(clean, add_special_tokens=False).ids
        turned: Vector = self._vectors[tokens].sum(axis=0, dtype="float32") @ self._rotation
        turned /= (turned @ turned) ** 0.5
        return turned
