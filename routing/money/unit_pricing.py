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
    """The rates for images of that form, or of that quality where the size makes no difference; None if
    only other forms have a price."""
    known, quality = dict(prices), form.partition("/")[0]
    if form in known:
        return known[form]
    alike = {rates for name, rates in prices if quality and name.startswith(f"{quality}/")}
    return alike.pop() if len(alike) == 1 else known.get("")


def dearest_rates(form: str, prices: UnitPrices) -> UnitRates | None:
    """The rates for images of that form, or the highest that there are where none are just for it: a model
    chooses what it is not told."""
    exact = next((rates for known, rates in prices if form and known == form), None)
    return exact or max((rates for _, rates in prices), key=lambda rates: rates.image, default=None)


def unit_cost(usage: Usage, rates: UnitRates) -> int:
    """What the images, the audio and the characters in `usage` cost, in pico-USD."""
    audio = -(-usage.audio_ms * rates.audio_second // _MS_PER_SECOND)
    return usage.images * rates.image + usage.characters * rates.character + audio
