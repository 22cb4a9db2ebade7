"""What the dictionary finds in a prompt: the tasks that it asks for and the subjects that it names."""

from dataclasses import dataclass, field

from tierwise.routing.analysis.lexicon import LONGEST_PHRASE, Categories, Known, lexicon, look_up
from tierwise.routing.analysis.text import BREAK

ASIDE = 1 / 3
"""What a task's verb counts where no clause begins with it."""
_LIGHT_ROOM = 4
"""After "give", "make" and the like, the task is one of the next words: "Give a rigorous proof"."""
_UNSPACED_CHARS = 160
"""So many characters of scripts without spaces are searched for terms."""


@dataclass(slots=True)
class Hits:
    """Tasks and topics, by category without its prefix."""

    tasks: dict[str, float] = field(default_factory=dict[str, float])
    """1 where a clause begins with a verb of the task, `ASIDE` where one only occurs."""
    topics: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The different words and phrases found."""
    main: str = ""
    """The first task that a clause begins with."""
    asks: int = 0
    """Clauses that begin with a verb of a task."""

    def add(self, word: str, categories: Categories, room: int) -> int:
        """Notes a word in a clause where `room` words may yet come before its verb; how many after it?"""
        asked = polite = light = False
        for kind, name in categories:
            if kind == "topic":
                polite = polite or name == "politeness"
                self.topics.setdefault(name, set()).add(word)
                continue
            light = light or name == "give"
            asked = asked or name != "give"
            self.tasks[name] = max(self.tasks.get(name, 0.0), 1.0 if room else ASIDE)
            if room and not light:
                self.main = self.main or name
        self.asks += asked and room > 0
        if asked or not room:
            return 0
        return _LIGHT_ROOM if light else room if polite else room - 1

    def words(self, *topics: str) -> set[str]:
        """The single words found of these topics."""
        return {word for topic in topics for found in self.topics.get(topic, ()) for word in found.split()}


def find(words: list[str]) -> Hits:
    """Looks the words up, one after the other."""
    hits, room, unspaced = Hits(), 1, _UNSPACED_CHARS
    for at, word in enumerate(words):
        known = look_up(word)
        if known is None:
            room = 1 if word == BREAK else room and room - 1
        elif known.unspaced:
            _add_terms(hits, word[:unspaced])
            unspaced = max(0, unspaced - len(word))
        else:
            following = words[at + 1] if at + 1 < len(words) else BREAK
            begins = following in known.seconds
            phrase, categories = _phrase(words, at, known) if begins else (word, known.categories)
            # A bare "…, design" asks for nothing: what is to be designed?
            bare = at > 0 and following == BREAK
            room = hits.add(phrase, categories, 1 if known.verb_final else 0 if bare else room)
    return hits


def _add_terms(hits: Hits, clause: str) -> None:
    """Where no spaces tell words apart, any term may be the verb of its clause."""
    for term, categories in lexicon().terms(clause):
        hits.add(term, categories, room=1)


def _phrase(words: list[str], at: int, known: Known) -> tuple[str, Categories]:
    """The longest phrase that begins at this word, or the word alone."""
    for size in range(LONGEST_PHRASE, 1, -1):
        phrase = " ".join(words[at : at + size])
        if phrase in known.phrases:
            return phrase, known.phrases[phrase]
    return words[at], known.categories
