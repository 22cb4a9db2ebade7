"""The most that a call can cost is never less than what it does cost."""

from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.pricing import Price, Rates, cost, most_cost
from tierwise.routing.providers.base import Usage
from tierwise.routing.request import Message, Payload
from tierwise.routing.tokens import estimate_prompt_tokens, most_prompt_tokens

RATE = st.integers(0, 10**9)
RATES = st.builds(
    Rates,
    input=RATE,
    output=RATE,
    cache_read=st.none() | RATE,
    cache_write=st.none() | RATE,
    reasoning=st.none() | RATE,
)
PRICES = st.builds(
    Price,
    rates=RATES,
    above=st.lists(st.tuples(st.integers(1, 2000), RATES), max_size=3).map(
        lambda brackets: tuple(sorted(brackets, key=lambda bracket: bracket[0]))
    ),
)
TOKENS = st.integers(0, 3000)


@given(
    price=PRICES, tokens=st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS), spare=st.tuples(TOKENS, TOKENS)
)
def test_no_usage_within_the_bounds_costs_more_than_the_most(
    price: Price, tokens: tuple[int, ...], spare: tuple[int, int]
) -> None:
    plain, read, written, said, thought = tokens
    usage = Usage(
        input_tokens=plain + read + written,
        output_tokens=said + thought,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
    )
    most = most_cost(usage.input_tokens + spare[0], usage.output_tokens + spare[1], price)
    assert cost(usage, price) <= most


@given(texts=st.lists(st.text(), max_size=4))
def test_a_prompt_has_at_most_a_token_for_each_byte(texts: list[str]) -> None:
    payload = Payload(messages=tuple(Message("user", text) for text in texts))
    assert estimate_prompt_tokens(payload) <= most_prompt_tokens(payload)
    assert most_prompt_tokens(payload) >= sum(len(text.encode()) for text in texts) + 16 * len(texts)
