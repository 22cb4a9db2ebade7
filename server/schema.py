"""JSON schemas as small as they can be: agents pay for every byte of them in context."""

from typing import Any, cast

from pydantic import BaseModel

Schema = dict[str, Any]

_NOISE = frozenset({"title", "maxLength", "minLength", "maxItems", "maximum", "ge", "le"})
"""What tells an agent nothing; limits are checked, and named when they are passed."""


def compact_schema(model: type[BaseModel], *, output: bool = False) -> Schema:
    """The schema of `model`, with references resolved and what says nothing left out.

    A field whose default is None loses its `null`: in arguments leaving it out says the same, and
    results leave it out. One that is null without a default keeps it.
    """
    schema = model.model_json_schema(mode="serialization" if output else "validation")
    compacted = _compact(schema, schema.pop("$defs", {}))
    compacted.pop("description", None)  # the tool has one of its own
    return _outline(compacted) if output else compacted


def _outline(schema: Schema) -> Schema:
    """A result's schema with the type of each field that is always there, but not what lists and objects
    inside it hold: it would be as long again."""
    always = schema.get("required", ())
    properties = {name: _shallow(value) for name, value in schema["properties"].items() if name in always}
    return {"type": "object", "properties": properties}


def _shallow(field: Schema) -> Schema:
    outer = {key: value for key, value in field.items() if key not in _INNER}
    return outer | ({"items": {"type": field["items"]["type"]}} if "items" in field else {})


_INNER = frozenset({"additionalProperties", "default", "enum"})


def _compact(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_compact(item, definitions) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    schema = _resolved(cast("Schema", node), definitions)
    properties = schema.pop("properties", None)
    compacted = {
        key: _compact(value, definitions) for key, value in schema.items() if not _is_noise(key, value)
    }
    if properties is not None:
        compacted["properties"] = {name: _compact(value, definitions) for name, value in properties.items()}
    return compacted


_SILENT = frozenset({"default", "additionalProperties"})
"""Their empty values are what one expects; an unknown argument is an error that names the known ones."""


def _is_noise(key: str, value: Any) -> bool:
    return key in _NOISE or (key in _SILENT and value in (None, "", False, {}, []))


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """The schema with its `anyOf: [X, null]` and its `$ref` written out."""
    schema = dict(schema)
    options = schema.get("anyOf", [])
    some = [option for option in options if option.get("type") != "null"]
    if len(some) == 1:
        del schema["anyOf"]
        nullable = len(options) > 1 and "default" not in schema
        schema = {**_resolved(some[0], definitions), **schema}
        if nullable:
            schema["type"] = [schema["type"], "null"]
    if "$ref" in schema:
        target = definitions[schema.pop("$ref").rpartition("/")[2]]
        schema = {**{key: value for key, value in target.items() if key != "description"}, **schema}
    return schema
