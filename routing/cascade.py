"""Is a cheaper model's answer good enough, or should the next tier answer?

The cheap checks look at the answer alone; a judge model of the user's can be asked as well.
"""

from tierwise.routing.providers.base import Completion
from tierwise.routing.request import Message, Payload
from tierwise.routing.settings import CascadeSettings

JUDGE_TOKENS = 1024
"""Room for a reasoning model to come to its yes or no."""
_JUDGED_CHARACTERS = 20_000
_REFUSALS = (
    "i can't", "i cannot", "i can not", "i'm sorry", "i am sorry", "sorry, ", "i'm unable", "i am unable",
    "i'm not able", "i am not able", "as an ai", "i don't know", "i do not know", "unfortunately, i",
)  # fmt: skip
"""How answers begin that are none, in lower case and with plain apostrophes."""


def weakness(completion: Completion, settings: CascadeSettings) -> str | None:
    """What is wrong with the answer, in words; None if nothing shows."""
    text = completion.content.lstrip().lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if not text:
        return "the answer was empty"
    if completion.finish_reason == "length":
        return "the answer was cut off"
    if text.startswith(_REFUSALS):
        return "the answer was a refusal"
    floor, logprob = settings.min_mean_logprob, completion.mean_logprob
    if floor is not None and logprob is not None and logprob < floor:
        return f"the model was unsure (mean log probability {logprob:.2f})"
    return None


def judge_payload(prompt: str, answer: str) -> Payload:
    """What the judge model is asked."""
    question = f"Question:\n{prompt[:_JUDGED_CHARACTERS]}\n\nAnswer:\n{answer[:_JUDGED_CHARACTERS]}"
    return Payload(
        messages=(
            Message("system", "You judge answers. Reply with YES or NO and nothing else."),
            Message("user", f"{question}\n\nDoes this answer the question correctly and completely?"),
        )
    )


def judge_rejects(verdict: str) -> bool:
    """Does the judge's reply say no? Anything but a plain no lets the answer pass."""
    return verdict.strip().strip("*\"'.").lower().startswith("no")
