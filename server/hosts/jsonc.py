"""Changing a member of a JSON text, with or without comments, and nothing else in it.

No library on PyPI that is kept up does this: those that read comments lose them when they write.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, cast

_STRING = r'"(?:[^"\\\r\n]|\\.)*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])")
_NOT_BLANK = re.compile(r"[^ \t\r\n]")
_REST_OF_LINE = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_UNIT = "  "


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    start: int
    value: int
    end: int
    """Offsets of the key, its value and the first character after that."""


@dataclass(frozen=True, slots=True)
class _Object:
    """An object in a text; `members` are in their order."""

    open: int
    close: int
    """Offsets of its braces."""
    members: tuple[_Member, ...]

    def last(self, key: str) -> _Member | None:
        """Of several members with the same key all readers take the last."""
        return next((member for member in reversed(self.members) if member.key == key), None)


def parse(text: str, *, comments: bool) -> Any:
    """What the text says; with `comments`, commas before a closing bracket are allowed too.

    Raises:
        ValueError: it is no JSON, or nests too deeply.
    """
    try:
        return json.loads(_plain(_bare(text)) if comments else text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def put(text: str, path: Sequence[str], value: Any) -> str:
    """`text`, which `parse` takes, with `value` at `path`: in the place of what is there, else as the last
    member of the innermost object that is there.

    Raises:
        ValueError: what leads to `path` is no object.
    """
    expected = parse(text, comments=True)
    inner = expected
    for key in path[:-1]:
        inner = _as_object(inner).setdefault(key, {})
    _as_object(inner)[path[-1]] = value
    return _checked(_put(text, path, value), expected)


def drop(text: str, path: Sequence[str]) -> str:
    """`text`, which `parse` takes, without the member at `path`, which is there.

    Raises:
        ValueError: what leads to `path` is no object.
    """
    expected = parse(text, comments=True)
    inner = expected
    for key in path[:-1]:
        inner = _as_object(inner)[key]
    del _as_object(inner)[path[-1]]
    while (holder := _find(text, path[:-1])) and (member := holder.last(path[-1])):
        text = _without(text, holder, member)
    return _checked(text, expected)


def _as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return cast("dict[str, Any]", value)


def _checked(text: str, expected: Any) -> str:
    """The last guard of other people's files: a change means what it should, or is not made."""
    if parse(text, comments=True) != expected:
        raise ValueError("it cannot be changed without harm to the rest of it")
    return text


@lru_cache(maxsize=2)  # one change looks at a text several times, which may have megabytes
def _bare(text: str) -> str:
    """The text with blanks in the place of comments."""
    return _COMMENT.sub(
        lambda found: found[0] if found[0][0] == '"' else re.sub(r"[^\r\n]", " ", found[0]), text
    )


@lru_cache(maxsize=2)
def _plain(bare: str) -> str:
    """The text with blanks in the place of commas before a closing bracket too."""
    return _TRAILING_COMMA.sub(lambda found: found[0] if found[0][0] == '"' else " ", bare)


def _next(text: str, at: int) -> int:
    """Where the first character from `at` on is that is not blank."""
    found = _NOT_BLANK.search(text, at)
    return found.start() if found else len(text)


def _object(plain: str, at: int) -> _Object:
    """The object whose opening brace is at `at`, in JSON that is right."""
    members: list[_Member] = []
    here = _next(plain, at + 1)
    while plain[here] != "}":
        start = _next(plain, here + 1) if plain[here] == "," else here
        key, end = _DECODER.raw_decode(plain, start)
        value = _next(plain, _next(plain, end) + 1)
        end = _DECODER.raw_decode(plain, value)[1]
        members.append(_Member(key, start, value, end))
        here = _next(plain, end)
    return _Object(at, here, tuple(members))


def _find(text: str, path: Sequence[str]) -> _Object | None:
    """The object at `path`; None where there is none."""
    plain = _plain(_bare(text))
    found = _object(plain, _next(plain, 0))
    for key in path:
        member = found.last(key)
        if member is None or plain[member.value] != "{":
            return None
        found = _object(plain, member.value)
    return found


def _put(text: str, path: Sequence[str], value: Any) -> str:
    for depth in range(len(path) - 1, -1, -1):
        if holder := _find(text, path[:depth]):
            for key in reversed(path[depth + 1 :]):
                value = {key: value}
            if member := holder.last(path[depth]):
                new = _written(text, value, _indent(text, member.start), one_line=False)
                return text[: member.value] + new + text[member.end :]
            return _with_member(text, holder, path[depth], value)
    raise ValueError("it is no object")


def _with_member(text: str, holder: _Object, key: str, value: Any) -> str:
    """The text with one more member at the end of `holder`, written the way the others are."""
    one_line = bool(holder.members) and "\n" not in text[holder.open : holder.close]
    outer = _indent(text, holder.open)
    first = holder.members[0].start if holder.members else None
    inner = _indent(text, first) if first and _begins_line(text, first) else outer + _unit(text)
    last = holder.members[-1].end if holder.members else holder.open + 1
    trailing = bool(holder.members) and _bare(text)[_next(_bare(text), last)] == ","
    head = text[:last] + ("," if holder.members and not trailing else "")
    between = text[last : holder.close].rstrip()
    member = f"{json.dumps(key)}: {_written(text, value, inner, one_line=one_line)}{',' if trailing else ''}"
    if one_line:
        return f"{head}{between} {member}{text[holder.close :]}"
    line = _newline(text)
    return f"{head}{between}{line}{inner}{member}{line}{outer}{text[holder.close :]}"


def _without(text: str, holder: _Object, member: _Member) -> str:
    bare = _bare(text)
    start, end = member.start, member.end
    at = holder.members.index(member)
    after = _next(bare, end)
    comma: int | None = None
    if bare[after] == ",":
        end = after + 1
    elif at:
        comma = bare.index(",", holder.members[at - 1].end)
    if not text[holder.open + 1 : start].strip() and not text[end : holder.close].strip():
        return text[: holder.open + 1] + text[holder.close :]
    rest = _REST_OF_LINE.match(text, end)
    if rest and _begins_line(text, start):
        start, end = start - len(_indent(text, start)), rest.end()
    elif bare[after] == ",":
        end = _next(text, end)
    else:
        start = len(text[:start].rstrip(" \t"))
    if comma is None:
        return text[:start] + text[end:]
    return text[:comma] + text[comma + 1 : start] + text[end:]


def _written(text: str, value: Any, indent: str, *, one_line: bool) -> str:
    if one_line:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=_unit(text)).split("\n")
    return f"{_newline(text)}{indent}".join(lines)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _indent(text: str, at: int) -> str:
    """The blanks that the line begins with in which `at` is."""
    start = _line_start(text, at)
    return text[start : start + len(text[start:]) - len(text[start:].lstrip(" \t"))]


def _begins_line(text: str, at: int) -> bool:
    return not text[_line_start(text, at) : at].strip()


def _unit(text: str) -> str:
    """By how much the text indents."""
    found = re.search(r"\n([ \t]+)\"", text)
    return found[1] if found else _UNIT


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
