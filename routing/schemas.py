"""JSON Schemas that callers hand in: whether they can be used, and whether an answer keeps to them."""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, cast

from tierwise.routing.errors import InvalidRequest

MAX_BYTES = 64 * 1024
"""Of one schema; providers take far less (OpenAI 5,000 properties in 10 levels)."""
_MAX_DEPTH = 64
_MOST_FAULTS = 5
_PATTERN_SECONDS = 0.2
"""For one regular expression on one text: some would run for years."""

Schema = dict[str, Any]


def check_schema(what: str, text: str) -> None:
    """See that a schema can be used; `what` names it, to begin a sentence with.

    Raises:
        InvalidRequest: it is none, too large, recursive, or refers to what is not in it.
    """
    if len(text.encode()) > MAX_BYTES:
        raise InvalidRequest(f"{what} is larger than {MAX_BYTES // 1024} KB: leave out what is not needed.")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{what} is not JSON.") from None
    if not isinstance(schema, dict) or not schema:
        raise InvalidRequest(f'{what} must be a JSON Schema, such as {{"type": "object", …}}.')
    fault = _fault(cast("Schema", schema))
    if fault is not None:
        raise InvalidRequest(f"{what} cannot be used: {fault}.")


def faults(schema: str, text: str) -> list[str]:
    """What is wrong with `text` as a value that keeps to `schema`, in words; [] if it does."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return [f"it is not JSON: {error}"]
    except RecursionError:
        return ["it is nested too deeply"]
    errors = islice(_validator(schema).iter_errors(value), _MOST_FAULTS)
    return [f"{error.json_path}: {error.message[:300]}" for error in errors]


def is_strict(schema: str) -> bool:
    """Does it keep to OpenAI's strict subset, in which every object closes its list of properties and
    requires them all? (platform.openai.com/docs/guides/structured-outputs)"""
    objects = (part for part in _parts(json.loads(schema)) if part.get("type") == "object")
    return all(
        part.get("additionalProperties") is False
        and set(part.get("required", ())) == set(part.get("properties", ()))
        for part in objects
    )


def _fault(schema: Schema) -> str | None:
    """Why a schema cannot be used."""
    import jsonschema

    if _depth(schema) > _MAX_DEPTH:
        return f"it is nested more than {_MAX_DEPTH} deep"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"it is no JSON Schema, at {error.json_path}: {error.message[:300]}"
    try:
        return "it is recursive, which few providers take: write out the levels" if _loops(schema) else None
    except LookupError as error:
        return f"{error.args[0]} leads nowhere inside it"


def _depth(node: Any, level: int = 0) -> int:
    if level > _MAX_DEPTH:
        return level
    return max((_depth(child, level + 1) for child in _children(node)), default=level)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(cast("Schema", node).values())
    return cast("list[Any]", node) if isinstance(node, list) else []


def _parts(node: Any) -> Iterator[Schema]:
    """Every object inside a schema, itself included."""
    if isinstance(node, dict):
        yield cast("Schema", node)
    for child in _children(node):
        yield from _parts(child)


def _loops(schema: Schema) -> bool:
    """Does following its references come back to where it began?

    Raises:
        LookupError: a reference leads nowhere inside the schema.
    """
    done: set[str] = set()

    def follow(node: Any, under: tuple[str, ...]) -> bool:
        for part in _parts(node):
            target = part.get("$ref", part.get("$dynamicRef"))
            if not isinstance(target, str) or target in done:
                continue
            if target in under or follow(_resolved(schema, target), (*under, target)):
                return True
            done.add(target)
        return False

    return follow(schema, ("#",))


def _resolved(schema: Schema, reference: str) -> Any:
    """What a reference inside the schema stands for; nothing outside is ever fetched."""
    if not reference.startswith("#/"):
        raise LookupError(f"the reference {reference[:100]!r}")
    node: Any = schema
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            node = cast("list[Any]", node)[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise LookupError(f"the reference {reference[:100]!r}") from None
    return node


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    extend, fetches_nothing = cast("Any", validators).extend, cast("Any", Registry)()
    keywords = {"pattern": _pattern, "patternProperties": _pattern_properties}
    return extend(Draft202012Validator, keywords)(json.loads(schema), registry=fetches_nothing)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Schema) -> Iterator[Any]:
    import jsonschema

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield jsonschema.ValidationError(f"{instance[:100]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Schema, instance: Any, schema: Schema) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, part in patterns.items():
        for name, value in cast("Schema", instance).items():
            if _matches(pattern, name):
                yield from validator.descend(value, part, path=name, schema_path=pattern)


def _matches(pattern: str, text: str) -> bool:
    import regex  # unlike `re` it can be stopped

    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS, concurrent=True) is not None
    except (TimeoutError, regex.error):
        return False
