"""litellm's price map, read as data: importing litellm to ask it would take seconds.

The map is one JSON file of some 4,000 entries inside the installed package; reading it takes 30 ms
and 5 MB, so it is read when first asked for and never at start.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.routing.media import Modality

CHAT_MODES = ("chat", "completion", "responses")
"""Values of `mode` of models that answer prompts."""
_MODES = {
    **dict.fromkeys(CHAT_MODES, Modality.CHAT),
    "image_generation": Modality.IMAGE,
    "audio_speech": Modality.SPEECH,
    "audio_transcription": Modality.TRANSCRIPTION,
}
"""What the map calls what a model is for; its other models are not for us."""
_FORM = re.compile(r"(?:[a-z_]+/)??(?:(low|medium|high|standard|hd)/)?(\d+)-x-(\d+)/(.+)")
"""How the map names the price of one form of image: `high/1024-x-1024/…`, perhaps behind a provider."""
_DATE_SUFFIX = re.compile(r"([-@](\d{8}|\d{4}-\d{2}-\d{2}|\d{4})|-latest|:latest|-v\d+:\d+)$")
_REGION_PREFIX = re.compile(r"^(us|eu|apac|global|au|jp)\.")


class MapEntry(NamedTuple):
    """One model of the map."""

    name: str
    """The name under which the map holds it."""
    fields: dict[str, Any]

    @property
    def provider(self) -> str:
        return _provider(self.fields)

    @property
    def modality(self) -> Modality | None:
        """None where it is not told."""
        return _MODES.get(self.fields.get("mode", ""))


class PriceMap:
    """Look-ups by the names that users write, which are seldom spelt as in the map."""

    def __init__(self, entries: Mapping[str, dict[str, Any]]) -> None:
        self._entries: dict[str, dict[str, Any]] = {}
        self._forms: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        for name, fields in entries.items():
            modality = _MODES.get(fields.get("mode", ""))
            if modality is Modality.IMAGE and (form := _FORM.fullmatch(name)):
                quality, width, height, model = form.groups("")
                forms = self._forms.setdefault((_provider(fields), model), {})
                forms[f"{quality}/{width}x{height}"] = fields
            elif modality:
                self._entries[name] = fields
        self.providers = frozenset(map(_provider, self._entries.values()))
        self._chat_providers = frozenset(
            _provider(fields) for fields in self._entries.values() if _MODES[fields["mode"]] is Modality.CHAT
        )

    def entry(self, name: str) -> MapEntry | None:
        """The model that the map holds under exactly this name."""
        fields = self._entries.get(name)
        return None if fields is None else MapEntry(name, fields)

    def forms(self, entry: MapEntry) -> Mapping[str, dict[str, Any]]:
        """What the map says of single forms of the images that a model makes, see `Usage.image_form`."""
        model = entry.name.removeprefix(f"{entry.provider}/")
        return self._forms.get((entry.provider, model), {})

    def find(self, provider: str | None, model: str) -> MapEntry | None:
        """The entry for `model` at `provider`, tried from the exact name to its relatives.

        A relative differs only in a date, `-latest`, a version mark or a region prefix:
        never in the model's own name, since a similar name can have another price.
        """
        for spelling in _spellings(model):
            for name in (f"{provider}/{spelling}", spelling) if provider else (spelling,):
                entry = self.entry(name)
                if entry is not None and (provider is None or self._speaks_for(entry, provider)):
                    return entry
        return None

    def _speaks_for(self, entry: MapEntry, provider: str) -> bool:
        """Another provider's price for the same model holds only for a gateway that has no prices of
        its own in the map, such as OpenRouter or a LiteLLM proxy: it passes the vendor's on."""
        return entry.provider.startswith(provider) or provider not in self._chat_providers

    def names(self) -> list[str]:
        """Every name in the map."""
        return list(self._entries)


def _provider(fields: Mapping[str, Any]) -> str:
    return str(fields.get("litellm_provider", ""))


def _spellings(model: str) -> Iterator[str]:
    yield model
    undated = _DATE_SUFFIX.sub("", model)
    bare = _REGION_PREFIX.sub("", undated)
    for spelling in (undated, bare, bare.rpartition("/")[2]):
        if spelling != model:
            yield spelling


@cache
def packaged_price_map() -> PriceMap:
    """The map inside the installed litellm; an empty one if the package no longer carries it."""
    spec = find_spec("litellm")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder, "model_prices_and_context_window_backup.json")
        if file.is_file():
            return PriceMap(json.loads(file.read_bytes()))
    return PriceMap({})
