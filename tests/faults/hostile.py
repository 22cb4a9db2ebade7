"""Arguments and messages that nobody in their senses sends, for hypothesis to put together."""

import json
import os
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Json = dict[str, Any]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))
"""For each test; `make faults ARGS=fuzz` tries many more."""

TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\u202e",
        "\N{GRINNING FACE}",
        "a" * 10_000,
        "é" * 500,
        "\r\n",
        "null",
        "NaN",
    ),
    *(
        "../../../etc/passwd",
        "'; DROP TABLE calls; --",
        "${HOME}",
        "{{7*7}}",
        "%s%n%x",
        "=1+1",
        "-1",
        "1e309",
    ),
    *("usage://today", "tenant:x", "__proto__", "2026-02-30", "9999-12-31", "0001-01-01", "1970-01-01"),
)
NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 0.1, -0.0, 1e308, 5e-324)
texts = st.sampled_from(TEXTS) | st.text(max_size=30).filter(
    lambda text: text.isprintable() or text.isascii()
)
scalars: SearchStrategy[Any] = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | texts
anything: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def arguments(schema: Json) -> SearchStrategy[Json]:
    """Arguments for a tool with this input schema: each missing, as it should be, or whatever comes."""
    given = {
        name: st.one_of(fitting(part, schema), fitting(part, schema), anything)
        for name, part in schema.get("properties", {}).items()
    }
    required = {name: given[name] for name in schema.get("required", ())}
    usual = st.fixed_dictionaries(
        required, optional={name: given[name] for name in given if name not in required}
    )
    return usual | st.fixed_dictionaries({}, optional=given) | st.dictionaries(texts, anything, max_size=3)


def fitting(part: Json, schema: Json) -> SearchStrategy[Any]:
    """What this part of the schema allows."""
    if "$ref" in part:
        return fitting(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    if "enum" in part or "const" in part:
        return st.sampled_from(part.get("enum") or [part["const"]])
    if "anyOf" in part:
        return st.one_of([fitting(choice, schema) for choice in part["anyOf"]])
    kinds = part.get("type", "object")
    return st.one_of(
        [_of_type(kind, part, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    )


def _of_type(kind: str, part: Json, schema: Json) -> SearchStrategy[Any]:
    if kind == "object":
        fields = {name: fitting(inner, schema) for name, inner in part.get("properties", {}).items()}
        return st.fixed_dictionaries(fields) if fields else st.dictionaries(texts, scalars, max_size=3)
    if kind == "array":
        return st.lists(fitting(part["items"], schema), max_size=min(4, part.get("maxItems", 4)))
    if kind == "integer":
        return st.integers(part.get("minimum"), part.get("maximum"))
    if kind == "number":
        return st.floats(part.get("minimum"), part.get("maximum"), allow_nan=False, allow_infinity=False)
    return {"boolean": st.booleans(), "null": st.none()}.get(kind, texts)


METHODS = (
    *("ping", "tools/list", "tools/call", "resources/list", "resources/read", "resources/subscribe"),
    *("resources/templates/list", "prompts/list", "completion/complete", "logging/setLevel", "initialize"),
    *("server/discover", "subscriptions/listen", "notifications/initialized", "no/such", "", "tools/call\0"),
)
_names = st.sampled_from(["chat", "analyze_complexity", "usage_summary", "set_budget", "nothing"]) | anything
_params: SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"name": _names}, optional={"arguments": anything, "_meta": anything}),
    st.fixed_dictionaries({"uri": texts | st.sampled_from(["usage://today", "usage://summary/7"])}),
    st.fixed_dictionaries({"protocolVersion": texts, "capabilities": anything, "clientInfo": anything}),
    anything,
)
requests: SearchStrategy[Json] = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS)}, optional={"params": _params}
)
"""Requests that lack their id."""
almost_requests: SearchStrategy[Json] = st.fixed_dictionaries(
    {},
    optional={"jsonrpc": scalars, "method": scalars, "params": _params, "result": scalars, "more": anything},
)


def _spaced(message: Json) -> bytes:
    return json.dumps(message, separators=(" ,\t", " : ")).encode()


def _plain(message: Json) -> bytes:
    return json.dumps(message).encode()


def _in_utf8(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode()


writers = st.sampled_from([_plain, _spaced, _in_utf8])
"""Ways to write a message down."""


def _deep(opening: str, rest: str) -> SearchStrategy[bytes]:
    return st.sampled_from([100, 300, 3_000, 100_000]).map(lambda depth: (opening * depth + rest).encode())


garbage: SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=200).filter(lambda line: b"\n" not in line),
    anything.map(lambda value: json.dumps(value).encode()),
    st.lists(requests, max_size=3).map(lambda batch: json.dumps(batch).encode()),
    _deep("[", ""),
    _deep('{"a":', '"\\ud800"'),
    _deep('"', ""),
    st.sampled_from([b"x" * 2**20, b'{"' + b'\\"' * 2**18, b"[" + b"1," * 2**18]),
)
"""Lines that hold no request."""
