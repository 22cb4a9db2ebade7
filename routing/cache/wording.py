"""What of a prompt's wording must agree before the answer to one may serve another."""

import re

_EXACT = re.compile(r"""[\n\t:"“”„«»`{}\[\]<>=\\$|]|\s'|  """)
"""Signs of code, of text to work on, or of words that are spoken about: there each character counts."""
_TASKS = (
    "calculate|compare|compose|convert|create|define|describe|design|draft|explain|find|fix|generate|"
    "give|help|implement|list|make|outline|provide|recommend|show|solve|suggest|summari[sz]e|tell me|"
    "translate|write"
)
"""After "can you" they ask for the thing itself, where "can you swim" asks about an ability."""
_OPENING = re.compile(
    r"(?:(?:hi|hello|hey)(?: there)?[,.!] )?(?:(?:please|kindly),? (?=\w+ \w))?"
    rf"(?:(?:can|could) you (?:please )?(?=(?:{_TASKS})\b))?(?:tell me (?=\w+ \w))?",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"(?:[,.!?] *(?:please|thanks|thank you))?\s?[.!?]?$", re.IGNORECASE)
_SAME = [
    (re.compile(pattern), plain)
    for pattern, plain in [
        ("\u2019", "'"),
        (r"\b([Ww]h(?:at|o|ere|en)|[Hh]ow|[Ii]t|[Tt]hat|[Tt]here)'s\b", r"\1 is"),
        (r"\b([Cc]an)(?:no|')t\b", r"\1 not"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'m\b", " am"),
        (r"^how (?:do|can) [Ii]\b", "how to"),
        (r"^write me\b", "write"),
        (r"\ban\b", "a"),
    ]
]
_TOKEN = re.compile(r"\w+|[^\w\s]")


def essence(prompt: str) -> tuple[str, ...] | None:
    """Two prompts may share an answer only if this is equal for both; None: this one with no other.

    Similar embeddings alone do not tell: of the pairs in `tests/routing/near_duplicates.jsonl` that
    need different answers a quarter are more similar than 0.97 ("miles to kilometers" and "kilometers
    to miles" are equal), and of the 108 such pairs among 5,735 prompts of benchmarks one in ten means
    the same. So every word, number, sign and capital must agree, in its place. Only this may differ:
    courtesies that open or close the prompt, contractions, "how can I" and "how do I" for "how to",
    "an" for "a", the case of the first letter, and the last mark. Code, quotations and texts after a
    colon must agree to the letter.
    """
    text = prompt.strip()
    text = _OPENING.sub("", text, count=1)
    if _EXACT.search(text):
        return (text,)
    text = _CLOSING.sub("", text, count=1)
    if text[1:2].islower() or text[1:2] in " '":  # a word, not an abbreviation
        text = text[:1].lower() + text[1:]
    for pattern, plain in _SAME:
        text = pattern.sub(plain, text)
    tokens = tuple(_TOKEN.findall(text))
    return tokens if len(tokens) > 1 else None
