"""What images, transcriptions and speech cost where they are billed by the piece, and not by tokens.

Rates are pico-USD (1e-12), as those of tokens are.
"""

from dataclasses import dataclass

from tierwise.storage.records import Usage

_MS_PER_SECOND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRates:
    """For one of each. A provider bills by one of them; 0 are those that it does not bill by."""

    image: int = 0
    audio_second: int = 0
    character: int = 0


UnitPrices = tuple[tuple[str, UnitRates], ...]
"""By the form of image that they are for, see `Usage.image_form`; "" is for all others."""


def rates_for(form: str, prices: UnitPrices) -> UnitRates | None:
    """The rates for images of that form; None if only other forms have a price."""
    quality, _, size = form.partition("/")
    names = (form, "" if quality else f"/{size}", "")
    return next((rates for name in names for known, rates in prices if known == name), None)


def dearest_rates(form: str, prices: UnitPrices) -> UnitRates | None:
    """The rates for images of that form, or the highest that there are where none are just for it: a model
    chooses what it is not told."""
    exact = next((rates for known, rates in prices if form and known == form), None)
    return exact or max((rates for _, rates in prices), key=lambda rates: rates.image, default=None)


def unit_cost(usage: Usage, rates: UnitRates) -> int:
    """What the images, the audio and the characters in `usage` cost, in pico-USD."""
    audio = -(-usage.audio_ms * rates.audio_second // _MS_PER_SECOND)
    return usage.images * rates.image + usage.characters * rates.character + audio
