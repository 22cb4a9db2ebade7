"""From what the models reject to sentences: where it stands, which key, what to do."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tierwise.routing.keys import Redactor
from tierwise.server.settings import VARIABLE_PREFIX, Settings

Location = tuple[str | int, ...]
"""The path of a key from the root; numbers are places in a list, from 0."""

Lines = Mapping[Location, int]
"""The line, from 1, on which a key stands in its file."""

MAX_PROBLEMS = 5


def _no_lines() -> Lines:
    return {}


@dataclass(frozen=True)
class Layer:
    """Settings from one source, before they are merged."""

    source: str
    tree: Mapping[str, Any]
    variables: Mapping[Location, str] = field(default_factory=dict[Location, str])
    """The names of the environment variables that set the keys."""
    lines: Callable[[], Lines] = _no_lines


def complain(error: ValidationError, layers: Sequence[Layer]) -> str:
    """One line for each problem, the first five; `layers` from the weakest to the strongest."""
    problems = error.errors(include_url=False)
    more = len(problems) - MAX_PROBLEMS
    told = [_sentence(problem, layers) for problem in problems[:MAX_PROBLEMS]]
    return "\n".join([*told, f"… and {more} more."] if more > 0 else told)


def json_lines(text: str) -> Lines:
    """Keys within a list are left out."""
    lines: dict[Location, int] = {}
    path: list[str | int] = []
    previous, line, seen = "", 1, 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[][{}:]', text):
        mark = token[0]
        if mark in "{[":
            path.append(0)
        elif mark in "}]":
            path.pop()
        elif mark == ":":
            line, seen = line + text.count("\n", seen, token.start()), token.start()
            path[-1] = json.loads(previous)
            lines.setdefault(tuple(path), line)
        previous = mark
    return lines


def toml_lines(text: str) -> Lines:
    """Keys of inline tables are left out: they stand on the line of the table."""
    lines: dict[Location, int] = {}
    table: Location = ()
    for number, line in enumerate(text.split("\n"), 1):
        header = re.match(r"\s*\[\[?([^]]+)\]", line)
        entry = re.match(r"""\s*((?:[\w.\s-]|"[^"]*"|'[^']*')+?)\s*=""", line)
        if header:
            table = path = _toml_path(header[1])
        elif entry:
            path = table + _toml_path(entry[1])
        else:
            continue
        for depth in range(1, len(path) + 1):
            lines.setdefault(path[:depth], number)
    return lines


def _toml_path(text: str) -> Location:
    return tuple(part.strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", text))


_without_keys = Redactor()  # that were pasted where a name belongs

_KINDS = {
    "bool": "must be true or false",
    "dict": "must be a table of keys and values",
    "float": "must be a number",
    "finite": "must be a finite number",
    "int": "must be a whole number",
    "model": "must be a table of keys and values",
    "missing": "is missing; add it",
    "path": "must be text in quotes, a path",
    "string": "must be text in quotes",
    "too": "must not be empty",
    "tuple": 'must be a list, such as ["first", "second"]',
}
"""What to say by the first word of pydantic's error type."""

_LIMITS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


def _sentence(problem: ErrorDetails, layers: Sequence[Layer]) -> str:
    where, missing = problem["loc"], problem["type"] == "missing"
    present = where[:-1] if missing else where
    by_strength = layers if missing else layers[::-1]
    layer = next((layer for layer in by_strength if _holds(layer.tree, present)), layers[0])
    path = _variable_path(present, layer)
    if path is None:
        return f"{layer.source}{_line(where, layer)}: {_dotted(where)}{_fault(problem)}."
    variable = _shown(layer.variables[path])
    if problem["type"] == "extra_forbidden" and len(where) <= len(path):
        return f"{variable} is not a variable that tierwise knows; {_instead(path, _as_variable)}."
    return f"variable {variable}: {_dotted(where)}{_fault(problem)}."


def _holds(tree: Any, where: Location) -> bool:
    for part in where:
        if isinstance(part, int):
            return True  # the place in a list that is there as a whole
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = cast("Mapping[str, Any]", tree)[part]
    return True


def _variable_path(where: Location, layer: Layer) -> Location | None:
    """The path of the variable that set `where`, or set something beneath it."""
    related = (p for p in layer.variables if p == where[: len(p)] or where == p[: len(where)])
    return max(related, key=len, default=None)


def _line(where: Location, layer: Layer) -> str:
    lines = layer.lines()
    known = (lines[where[:depth]] for depth in range(len(where), 0, -1) if where[:depth] in lines)
    line = next(known, None)
    return f", line {line}" if line else ""


def _fault(problem: ErrorDetails) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f" is not a known key; {_instead(problem['loc'], _dotted)}"
    if kind == "value_error":
        return f": {context['error']}"
    if kind in ("literal_error", "enum"):
        return f" must be one of {context['expected']}"
    for limit, words in _LIMITS.items():
        if limit in context:
            return f" must be {words} {context[limit]:.10g}"
    return f" {_KINDS.get(kind.split('_')[0], 'has a value of the wrong kind')}"


def _instead(where: Location, spelled: Callable[[Location], str]) -> str:
    import difflib  # 10 ms that only a mistake is worth

    if where[-1] == "api_key":
        name = spelled((*where[:-1], "api_key_env"))
        return f"put the key into an environment variable of its own, and that variable's name into {name}"
    known = {_dotted(key): key for key in _known_keys(Settings, (), where)}
    near = difflib.get_close_matches(_dotted(where)[:200], known, n=1, cutoff=0.5)
    if not near:
        return f"the sections are {', '.join(Settings.model_fields)}"
    return f"the nearest is {spelled(known[near[0]])}"


def _known_keys(model: type[BaseModel], path: Location, where: Location) -> Iterator[Location]:
    """Every key under `path`; where the user chooses a name, the one in `where` stands for all."""
    for name, info in model.model_fields.items():
        here = (*path, name)
        yield here
        if get_origin(info.annotation) is dict:
            here = (*here, where[len(here)] if len(where) > len(here) else "<name>")
        for inner in (info.annotation, *get_args(info.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _known_keys(inner, here, where)


def _as_variable(path: Location) -> str:
    return VARIABLE_PREFIX + "__".join(_shown(part) for part in path).upper()


def _dotted(path: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in path)
    return text.removeprefix(".")


def _shown(name: str | int) -> str:
    """The name as it may stand in a message: on one line, of bounded length, no secret."""
    text = _without_keys(str(name)[:200])[:80]
    return text if re.fullmatch(r"[][\w./:@+<>()-]+", text) else repr(text)
