"""Reading the settings: a file, overridden by `TIERWISE_…` variables, overridden by flags."""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from tierwise.routing.settings import NAMED_OUTSIDE_THE_FILE
from tierwise.server.complaints import Layer, Location, complain, json_lines, toml_lines
from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import TOKEN_VARIABLE, VARIABLE_PREFIX, Settings

CONFIG_VARIABLE = "TIERWISE_CONFIG"
MAX_FILE_BYTES = 1_000_000

# What Kubernetes puts into the environment of every pod when a service is called `tierwise`.
_SERVICE_LINK = re.compile(r"TIERWISE_(SERVICE_\w+|PORT_\d+_\w+)=|TIERWISE_PORT=\w+://")


def load_settings(
    *, config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] = {}
) -> Settings:
    """The settings in force; raises `ConfigurationError`.

    `config` is the file that `--config` names; without it `TIERWISE_CONFIG` does; without that it
    is `tierwise.toml` in the user's config folder, if it exists. A variable names its key in any
    case, with `__` between the levels (`TIERWISE_SERVER__PORT`); an empty one counts as not set;
    one whose value begins with `[` or `{` is JSON. `overrides` has the shape of the file.
    """
    layers = [
        _file_layer(config, environ),
        _environment_layer(environ),
        Layer("the command line", overrides),
    ]
    return _checked(layers, _named(layers[1:]))


def settings_from(tree: Mapping[str, Any]) -> Settings:
    """The settings that `tree`, in the shape of the file, holds by itself; raises `ConfigurationError`."""
    layers = [Layer("the settings", tree)]
    return _checked(layers, _named(layers))  # a program may name any variable, as variables and flags may


def _checked(layers: Sequence[Layer], named: frozenset[str]) -> Settings:
    merged: Mapping[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer.tree)
    try:
        return Settings.model_validate(merged, context={NAMED_OUTSIDE_THE_FILE: named})
    except ValidationError as error:
        raise ConfigurationError(complain(error, layers)) from None


def _named(layers: Iterable[Layer]) -> frozenset[str]:
    """The environment variables that the layers name for secrets."""
    return frozenset(name for layer in layers for name in _variables_named_in(layer.tree))


def _variables_named_in(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _variables_named_in(cast("Mapping[str, Any]", value))
        elif key.endswith("_env") and isinstance(value, str):
            yield value


def load_env_file(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` completed from a `.env` file: a variable that is already set keeps its value.

    Values are taken as they stand, `${…}` included. Raises `ConfigurationError`.
    """
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(_read(path))):
        if binding.error:
            raise ConfigurationError(
                f"{path}, line {binding.original.line}: this is not NAME=value; "
                "correct the line, or begin it with # to leave it out."
            )
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return found | dict(environ)


def settings_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that `load_settings` reads; None if there is none to read."""
    named = next((v for name, v in environ.items() if name.upper() == CONFIG_VARIABLE and v), None)
    return config or (_expanded(named) if named else None) or _default_file()


def _file_layer(config: Path | None, environ: Mapping[str, str]) -> Layer:
    path = settings_file(config, environ)
    if path is None:
        return Layer("the settings", {})
    text = _read(path)
    is_json = path.suffix.lower() == ".json" or (
        path.suffix.lower() != ".toml" and text.lstrip().startswith("{")
    )
    tree = _parse_json(text, str(path)) if is_json else _parse_toml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f'{path}: settings are a JSON object; write {{"section": {{"key": value}}}} around them.'
        )
    lines = json_lines if is_json else toml_lines
    return Layer(str(path), cast("dict[str, Any]", tree), lines=lambda: lines(text))


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~name` of nobody: reading it will say that there is no such file
        return Path(path)


def _default_file() -> Path | None:
    import platformdirs

    path = platformdirs.user_config_path("tierwise", appauthor=False) / "tierwise.toml"
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it cannot be looked at: reading it will say why
    return path


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder; give the path of a file in it.")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist; correct the path, or create the file.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{path} cannot be read: {reason}. Make the file readable.") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path} is over 1 MB, too large for this; check that it is the right file.")
    try:
        return data.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ConfigurationError(f"{path}, line {line}: this is not UTF-8; save the file as UTF-8.") from None


def _parse_toml(text: str, source: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).removesuffix(")").rpartition(" (at ")
        raise ConfigurationError(
            f"{source}, {place}: this is not valid TOML ({message}); "
            "correct it, or call the file .json if it is JSON."
        ) from None
    except (ValueError, RecursionError):
        raise _unreadable(source) from None


def _parse_json(text: str, source: str) -> object:
    try:
        tree: object = json.loads(text)
        json.dumps(tree, ensure_ascii=False).encode()  # fails on half of a surrogate pair
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError(
            f"{source}, {where}: this is not valid JSON ({error.msg}); correct it."
        ) from None
    except (ValueError, RecursionError):
        raise _unreadable(source) from None
    return tree


def _unreadable(source: str) -> ConfigurationError:
    return ConfigurationError(
        f"{source}: it nests too deeply, or holds broken Unicode or a number of thousands of digits; "
        "take that out."
    )


def _environment_layer(environ: Mapping[str, str]) -> Layer:
    tree: dict[str, Any] = {}
    variables: dict[Location, str] = {}
    for name, value in sorted(environ.items()):
        if not value or not _is_setting(name, value):
            continue
        path = tuple(name[len(VARIABLE_PREFIX) :].lower().split("__"))
        variables[path] = name
        leaf = _decoded(value, f"variable {name}")
        for part in reversed(path):
            leaf = {part: leaf}
        tree = _merge(tree, cast("dict[str, Any]", leaf))
    return Layer("the environment", tree, variables)


def _is_setting(name: str, value: str) -> bool:
    upper = name.upper()
    return (
        upper.startswith(VARIABLE_PREFIX)
        and upper != CONFIG_VARIABLE
        and name != TOKEN_VARIABLE  # in another case it would be passed over, and a door stand open
        and not _SERVICE_LINK.match(f"{name}={value}")
    )


def _decoded(value: str, source: str) -> Any:
    if value.lstrip().startswith(("[", "{")):
        return _parse_json(value, source)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{source}: its value is not UTF-8; set it again.") from None
    return value


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; anything else replaces what was there."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = (
            _merge(cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value)) if both else value
        )
    return merged
