"""The most that a call can cost is never less than what it does cost."""

from dataclasses import fields
from datetime import time

from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.money.off_peak import OffPeakHours, Window
from tierwise.routing.money.pricing import Price, Rates, cost, most_cost
from tierwise.routing.request import Message, Payload
from tierwise.routing.tokens import estimate_prompt_tokens, most_prompt_tokens
from tierwise.storage.records import Usage

RATE = st.integers(0, 10**9)
PARTS = [field.name for field in fields(Rates) if field.name not in ("input", "output")]
RATES = st.builds(Rates, input=RATE, output=RATE, **{part: st.none() | RATE for part in PARTS})
ABOVE = st.lists(st.tuples(st.integers(1, 2000), RATES), max_size=3).map(
    lambda brackets: tuple(sorted(brackets, key=lambda bracket: bracket[0]))
)
TIERS = st.tuples(st.just("priority"), st.builds(Price, rates=RATES, above=ABOVE))
NIGHT = OffPeakHours((Window(time(0), time(6)),))
PRICES = st.builds(
    Price,
    rates=RATES,
    above=ABOVE,
    request=RATE,
    service_tiers=st.lists(TIERS, max_size=1).map(tuple),
    off_peak=st.none() | st.tuples(st.just(NIGHT), RATES),
)
TOKENS = st.integers(0, 3000)


@given(
    price=PRICES,
    sent=st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS),
    made=st.tuples(TOKENS, TOKENS, TOKENS),
    spare=st.tuples(TOKENS, TOKENS),
    tier=st.sampled_from(["", "priority"]),
    hour=st.integers(0, 23),
)
def test_no_usage_within_the_bounds_costs_more_than_the_most(
    price: Price,
    sent: tuple[int, ...],
    made: tuple[int, ...],
    spare: tuple[int, int],
    tier: str,
    hour: int,
) -> None:
    _, read, written, kept, seen = sent
    _, thought, drawn = made
    usage = Usage(
        input_tokens=sum(sent),
        output_tokens=sum(made),
        cache_read_tokens=read,
        cache_write_tokens=written + kept,
        cache_write_1h_tokens=kept,
        image_input_tokens=seen,
        reasoning_tokens=thought,
        image_output_tokens=drawn,
        service_tier=tier,
    )
    bound = Usage(input_tokens=usage.input_tokens + spare[0], output_tokens=usage.output_tokens + spare[1])
    most = most_cost(bound, price)
    assert cost(usage, price, hour * 3_600_000) <= most


@given(texts=st.lists(st.text(), max_size=4))
def test_a_prompt_has_at_most_a_token_for_each_byte(texts: list[str]) -> None:
    payload = Payload(messages=tuple(Message("user", text) for text in texts))
    assert estimate_prompt_tokens(payload) <= most_prompt_tokens(payload)
    assert most_prompt_tokens(payload) >= sum(len(text.encode()) for text in texts) + 16 * len(texts)
