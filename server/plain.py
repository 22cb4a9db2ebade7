"""Text of others, made fit for a terminal, a log or a cell: nothing in it can act, hide or pose as ours."""

import re

_ACTING = re.compile(
    r"\r(?!\n)"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # all control characters but tab and newlines
    r"|[\u2028\u2029]"  # lines may end there
    r"|[\u202a-\u202e\u2066-\u2069]"  # turn the direction of writing
    r"|[\ud800-\udfff]"  # halves of surrogate pairs, which no encoding has
)


def visible(text: str) -> str:
    r"""`text` with each character that would act on a terminal spelled out, such as `\x1b`."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_json(text: str) -> str:
    """The same for JSON that holds no control character of ASCII; its meaning does not change."""
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
