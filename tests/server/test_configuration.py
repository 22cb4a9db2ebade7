"""Loading the settings: what they may look like, what wins, and what is said when they are wrong."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.server.configuration import load_env_file, load_settings
from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import Settings, database_path
from tierwise.storage.errors import TierwiseError

Write = Callable[..., Path]

EXAMPLE = Path(__file__).with_name("api.json").read_text(encoding="utf-8")
"""What users bring along from other tools."""

KEY = "sk-proj-Abc123Def456Ghi789"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the settings of whoever runs it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))
    return tmp_path / "home"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "settings.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def load(
    config: Path | None = None, environ: Mapping[str, str] = {}, overrides: Mapping[str, Any] = {}
) -> Settings:
    return load_settings(config=config, environ=environ, overrides=overrides)


def complaint(
    config: Path | None = None, environ: Mapping[str, str] = {}, overrides: Mapping[str, Any] = {}
) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(config, environ, overrides)
    assert raised.value.__cause__ is None
    return str(raised.value)


# What loads


def test_the_example_of_other_tools_loads_unchanged(write: Write):
    settings = load(write(EXAMPLE, "api.json"))
    assert settings.litellm.timeout == 600
    assert settings.litellm.providers["anthropic"].models["haiku"] == "anthropic/claude-3-5-haiku-20241022"
    assert settings.model_routing.rules.cuts() == (0.3, 0.7)
    assert settings.usage_tracking.pricing["claude-sonnet-4-20250514"].output == 15.0
    assert settings.caching.max_cache_size_mb == 100
    assert settings.defaults.max_tokens == 4096


def test_without_file_and_variables_the_defaults_hold():
    settings = load()
    assert settings == Settings()
    assert (settings.server.host, settings.server.port, settings.server.answer_within) == (
        "127.0.0.1",
        8765,
        50,
    )
    assert settings.caching.ttl_seconds == 3600
    assert settings.usage_tracking.enabled


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load().server.port = 1


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("[server]\nport = 9000", "a.toml"),
        ('{"server": {"port": 9000}}', "a.json"),
        ('{"server": {"port": 9000}}', "a.JSON"),
        ("[server]\nport = 9000", "a.conf"),
        ('\n {"server": {"port": 9000}}', "a"),
        (b"\xef\xbb\xbf[server]\r\nport = 9000\r\n", "bom.toml"),
        (b'\xef\xbb\xbf{"server": {"port": 9000}}', "bom.json"),
    ],
)
def test_toml_and_json_are_told_apart_and_a_byte_order_mark_is_skipped(
    write: Write, content: str | bytes, name: str
):
    assert load(write(content, name)).server.port == 9000


def test_an_empty_toml_file_changes_nothing(write: Write):
    assert load(write("")) == Settings()


def test_one_model_or_a_list_of_them_is_a_rule(write: Write):
    rules = load(
        write("model_routing.rules.simple.model = 'a'\nmodel_routing.rules.complex.model = ['b', 'c']")
    ).model_routing.rules
    assert rules.simple
    assert rules.complex
    assert (rules.simple.model, rules.complex.model) == (("a",), ("b", "c"))


# What wins


def test_the_file_is_the_flag_then_the_variable_then_the_users_own(write: Write, home: Path):
    own = home / "config" / "tierwise" / "tierwise.toml"
    own.parent.mkdir(parents=True)
    own.write_text("server.port = 1")
    named = write("server.port = 2", "named.toml")
    flag = write("server.port = 3", "flag.toml")
    assert load().server.port == 1
    assert load(environ={"TIERWISE_CONFIG": ""}).server.port == 1
    assert load(environ={"TIERWISE_CONFIG": str(named)}).server.port == 2
    assert load(flag, {"TIERWISE_CONFIG": str(named)}).server.port == 3


def test_flags_win_over_variables_and_variables_over_the_file(write: Write):
    file = write("[server]\nport = 1\nhost = 'file'\nanswer_within = 7")
    environ = {"TIERWISE_SERVER__PORT": "2", "TIERWISE_SERVER__HOST": "variable"}
    server = load(file, environ, {"server": {"port": 3}}).server
    assert (server.port, server.host, server.answer_within) == (3, "variable", 7)


def test_what_is_not_overridden_survives_at_every_depth(write: Write):
    file = write('[litellm.providers.Azure]\napi_base = "http://a"\nmodels = {Big = "x", small = "y"}')
    providers = load(
        file,
        {"TIERWISE_LITELLM__PROVIDERS__OPENAI__API_BASE": "http://b"},
        {"litellm": {"providers": {"Azure": {"models": {"Big": "z"}}}}},
    ).litellm.providers
    assert providers["Azure"].models == {"Big": "z", "small": "y"}
    assert providers["Azure"].api_base == "http://a"
    assert providers["openai"].api_base == "http://b"


# Variables


def test_variables_are_read_in_any_case():
    assert load(environ={"tierwise_Server__pOrt": "9000"}).server.port == 9000


def test_an_empty_variable_counts_as_not_set():
    assert load(environ={"TIERWISE_SERVER__PORT": "", "TIERWISE_NONSENSE": ""}) == Settings()


def test_a_variable_may_hold_json():
    settings = load(
        environ={
            "TIERWISE_MODEL_ROUTING__RULES__SIMPLE__MODEL": '["a", "b"]',
            "TIERWISE_USAGE_TRACKING__PRICING": '{"x/Y": {"input": 1, "output": 2}}',
            "TIERWISE_LITELLM__FALLBACK_CHAIN": '["4"]',
        }
    )
    assert settings.model_routing.rules.simple
    assert settings.model_routing.rules.simple.model == ("a", "b")
    assert settings.usage_tracking.pricing["x/Y"].output == 2
    assert settings.litellm.fallback_chain == ("4",)


@pytest.mark.parametrize("name", ["4", "123", "true", "null", "1e3"])
def test_a_name_that_looks_like_a_number_stays_a_name(name: str):
    environ = {
        "TIERWISE_LITELLM__DEFAULT_MODEL": name,
        "TIERWISE_MODEL_ROUTING__RULES__SIMPLE__MODEL": name,
    }
    settings = load(environ=environ)
    assert settings.litellm.default_model == name
    assert settings.model_routing.rules.simple
    assert settings.model_routing.rules.simple.model == (name,)


def test_text_becomes_numbers_and_switches_where_they_are_wanted():
    settings = load(
        environ={
            "TIERWISE_LITELLM__TIMEOUT": "2.5",
            "TIERWISE_CACHING__ENABLED": "false",
            "TIERWISE_SERVER__LOG_LEVEL": "debug",
            "TIERWISE_SERVER__ALLOWED_HOSTS": "example.com",
            "TIERWISE_USAGE_TRACKING__TIME_ZONE": "Europe/Berlin",
        }
    )
    assert settings.litellm.timeout == 2.5
    assert not settings.caching.enabled
    assert settings.server.log_level == "DEBUG"
    assert settings.server.allowed_hosts == ("example.com",)
    assert settings.usage_tracking.time_zone == "Europe/Berlin"


def test_what_kubernetes_adds_for_a_service_called_tierwise_is_not_a_setting():
    links = {
        "TIERWISE_SERVICE_HOST": "10.0.0.1",
        "TIERWISE_SERVICE_PORT_HTTP": "8765",
        "TIERWISE_PORT": "tcp://10.0.0.1:8765",
        "TIERWISE_PORT_8765_TCP": "tcp://10.0.0.1:8765",
        "TIERWISE_PORT_8765_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=links) == Settings()


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("TIERWISE_SERVER_PORT", "TIERWISE_SERVER__PORT"),
        ("TIERWISE_SERVR__PORT", "TIERWISE_SERVER__PORT"),
        ("TIERWISE_PORT", "TIERWISE_SERVER__PORT"),
        ("TIERWISE_DATA_FOLDER", "TIERWISE_DATA_DIR"),
        ("TIERWISE_LITELLM__PROVIDERS__OPENAI__BASE", "TIERWISE_LITELLM__PROVIDERS__OPENAI__API_BASE"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest(unknown: str, nearest: str):
    said = complaint(environ={unknown: "9000"})
    assert said == f"{unknown} is not a variable that tierwise knows; the nearest is {nearest}."


def test_a_key_in_a_variable_of_ours_is_sent_to_a_variable_of_its_own():
    said = complaint(environ={"TIERWISE_LITELLM__PROVIDERS__OPENAI__API_KEY": KEY})
    assert said.endswith("that variable's name into TIERWISE_LITELLM__PROVIDERS__OPENAI__API_KEY_ENV.")
    assert KEY not in said


def test_an_unknown_variable_that_resembles_nothing_is_told_the_sections():
    said = complaint(environ={"TIERWISE_QQQQ": "1"})
    assert said.startswith("TIERWISE_QQQQ is not a variable that tierwise knows; the sections are litellm, ")


def test_a_bad_value_in_a_variable_names_the_variable_and_not_the_file(write: Write):
    said = complaint(write("[server]\nport = 1"), {"TIERWISE_SERVER__PORT": "many"})
    assert said == "variable TIERWISE_SERVER__PORT: server.port must be a whole number."


def test_what_is_missing_is_looked_for_in_the_file_first(write: Write):
    environ = {"TIERWISE_MODEL_ROUTING__RULES__SIMPLE__MAX_COMPLEXITY": "0.2"}
    sentence = "model_routing.rules.simple.model is missing; add it."
    path = write("model_routing.rules.simple.min_complexity = 0")
    assert complaint(path, environ) == f"{path}, line 1: {sentence}"
    assert complaint(environ=environ) == f"variable {next(iter(environ))}: {sentence}"


def test_of_two_variables_the_closer_one_is_named():
    environ = {"TIERWISE_SERVER": '{"port": 1}', "TIERWISE_SERVER__HOST": "x", "TIERWISE_SERVER__PORT": "y"}
    assert complaint(environ=environ) == "variable TIERWISE_SERVER__PORT: server.port must be a whole number."


def test_an_unknown_key_inside_a_variables_json_is_named():
    said = complaint(environ={"TIERWISE_SERVER": '{"prot": 1}'})
    assert said == "variable TIERWISE_SERVER: server.prot is not a known key; the nearest is server.port."


def test_broken_json_in_a_variable_is_said_without_its_text():
    said = complaint(environ={"TIERWISE_LITELLM__FALLBACK_CHAIN": f'["{KEY}'})
    assert said.startswith(
        "variable TIERWISE_LITELLM__FALLBACK_CHAIN, line 1, column 2: this is not valid JSON"
    )
    assert KEY not in said


def test_a_variable_that_is_not_unicode_is_refused():
    assert complaint(environ={"TIERWISE_SERVER__HOST": "\udcff"}).startswith(
        "variable TIERWISE_SERVER__HOST: its value is not UTF-8"
    )


def test_a_bad_flag_is_called_the_command_line():
    assert complaint(overrides={"server": {"port": 70_000}}) == (
        "the command line: server.port must be at most 65535."
    )


# What is wrong in a file

SENTENCES = [
    ("litellm.timout = 1", "line 1: litellm.timout is not a known key; the nearest is litellm.timeout."),
    ("\n[routing]\nenabled = true", "line 2: routing is not a known key; the nearest is model_routing."),
    ("qqqqqqqq = 1", "line 1: qqqqqqqq is not a known key; the sections are litellm, model_routing, "),
    ("[server]\n# port = 1\nport = 'many'", "line 3: server.port must be a whole number."),
    ("[litellm]\n[server]\nport = -1", "line 3: server.port must be at least 0."),
    ("litellm.timeout = 0", "line 1: litellm.timeout must be greater than 0."),
    ("caching.ttl_seconds = 315360001", "line 1: caching.ttl_seconds must be at most 315360000."),
    ("caching.semantic.threshold = 2", "line 1: caching.semantic.threshold must be at most 1."),
    ("litellm.timeout = nan", "line 1: litellm.timeout must be at most 86400."),
    ("caching.enabled = 'perhaps'", "line 1: caching.enabled must be true or false."),
    ("server.host = 4", "line 1: server.host must be text in quotes."),
    ("data_dir = 4", "line 1: data_dir must be text in quotes, a path."),
    ("server = 4", "line 1: server must be a table of keys and values."),
    ("litellm.providers = []", "line 1: litellm.providers must be a table of keys and values."),
    ("litellm.fallback_chain = 'a'", 'litellm.fallback_chain must be a list, such as ["first", "second"].'),
    ("litellm.fallback_chain = ['a', 1]", "line 1: litellm.fallback_chain[1] must be text in quotes."),
    ("model_routing.rules.simple.model = []", "line 1: model_routing.rules.simple.model must not be empty."),
    ("server.log_level = 'loud'", "server.log_level must be one of 'DEBUG', 'INFO', "),
    (
        "[usage_tracking.pricing]\n'a/b' = {input = 1}",
        "line 2: usage_tracking.pricing.a/b.output is missing; add it.",
    ),
    (
        "usage_tracking.pricing.x = {input = 1e9, output = 1}",
        "line 1: usage_tracking.pricing.x.input must be at most 1000000",
    ),
    (
        "usage_tracking.pricing.x = {input = -1, output = 1}",
        "line 1: usage_tracking.pricing.x.input must be at least 0",
    ),
    (
        "usage_tracking.pricing.x = {input = inf, output = 1}",
        "line 1: usage_tracking.pricing.x.input must be a finite number.",
    ),
    (
        "[model_routing.rules.simple]\nmax_complexity = 0.2",
        "line 1: model_routing.rules.simple.model is missing",
    ),
    (
        "[model_routing.rules]\nstandard = {model='a', min_complexity=0.9}",
        "line 1: model_routing.rules: the tiers overlap: standard begins at 0.9",
    ),
    (
        "usage_tracking.time_zone = 'Europe/Belrin'",
        "usage_tracking.time_zone: there is no time zone of that name; the nearest is Europe/Berlin.",
    ),
    ("usage_tracking.time_zone = 'America'", "there is no time zone of that name; the nearest is America/"),
    ("usage_tracking.time_zone = '../zzz'", "give an IANA name such as Europe/Berlin."),
    ("data_dir = '~nobody-of-that-name/x'", "line 1: data_dir: it must be a full path, or begin with ~/"),
    ("data_dir = 'here'", "line 1: data_dir: it must be a full path, or begin with ~/, because "),
    (
        f"[litellm.providers.openai]\napi_key = '{KEY}'",
        "line 2: litellm.providers.openai.api_key is not a known key; put the key into an environment "
        "variable of its own, and that variable's name into litellm.providers.openai.api_key_env.",
    ),
    ("'two\\nlines' = 1", r"line 1: 'two\\nlines' is not a known key; the sections are "),
]


@pytest.mark.parametrize(("content", "sentence"), SENTENCES)
def test_a_mistake_in_the_file_is_said_with_its_place_and_what_to_do(
    write: Write, content: str, sentence: str
):
    path = write(content)
    said = complaint(path)
    assert said.startswith(f"{path}, line ")
    assert sentence in said
    assert said.endswith(".")
    assert "\n" not in said
    assert "pydantic" not in said.lower()


def test_the_line_in_a_json_file_is_that_of_the_key_itself(write: Write):
    path = write(
        '{"litellm": {\n"timeout": 1,\n"default_model": "timeout: \\"x\\"" },\n"timeout": 2}', "a.json"
    )
    assert complaint(path).startswith(f"{path}, line 4: timeout is not a known key")


def test_a_key_of_any_length_is_shown_within_bounds(write: Write):
    assert len(complaint(write("k" * 10_000 + " = 1"))) < 400


def test_five_problems_are_told_and_the_others_counted(write: Write):
    path = write("\n".join(f"wrong_{number} = 1" for number in range(7)))
    *told, rest = complaint(path).splitlines()
    assert [line.split(" is not")[0] for line in told] == [
        f"{path}, line {number + 1}: wrong_{number}" for number in range(5)
    ]
    assert rest == "… and 2 more."


@pytest.mark.parametrize(
    "pasted",
    [KEY, "sk-ant-api03-x_y", "gsk_abcDEF0123456789abcdef", "0123456789abcdef0123456789abcdef", "MY KEY", ""],
)
def test_a_key_pasted_where_its_variables_name_belongs_is_refused_and_not_repeated(write: Write, pasted: str):
    path = write(json.dumps({"litellm": {"providers": {"openai": {"api_key_env": pasted}}}}), "a.json")
    said = complaint(path)
    assert "litellm.providers.openai.api_key_env: it takes the name of an environment variable" in said
    assert not pasted or pasted not in said


def test_a_key_pasted_in_place_of_a_key_is_not_repeated(write: Write):
    said = complaint(write(f"[litellm]\n{KEY} = 1"), {f"TIERWISE_{KEY}": "1"})
    assert KEY.lower() not in said.lower()
    assert "[key]" in said


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("[server\nport = 1", "a.toml", ", line 1, column 8: this is not valid TOML ("),
        ("a = 'x", "a.toml", ", end of document: this is not valid TOML ("),
        ('{"server": {"port": 1}}', "a.toml", "or call the file .json if it is JSON."),
        ('{\n "server": {,}}', "a.json", ", line 2, column 13: this is not valid JSON ("),
        ("", "a.json", ", line 1, column 1: this is not valid JSON (Expecting value)"),
        ("[1]", "a.json", ": settings are a JSON object; write "),
        ('{"server": {"host": "\\ud800"}}', "a.json", ": it nests too deeply, or holds broken Unicode"),
        ("[" * 100_000, "a.json", ": it nests too deeply"),
        ("a = " + "[" * 100_000, "a.toml", ": it nests too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "a.json", "a number of thousands of digits"),
        (b"[server]\nhost = '\xff'", "a.toml", ", line 2: this is not UTF-8; save the file as UTF-8."),
        ("[server]".encode("utf-16"), "a.toml", ", line 1: this is not UTF-8; save the file as UTF-8."),
        (b"#" * 1_000_001, "a.toml", " is over 1 MB"),
    ],
)
def test_a_file_that_cannot_be_understood_says_where(
    write: Write, content: str | bytes, name: str, sentence: str
):
    path = write(content, name)
    said = complaint(path)
    assert said.startswith(str(path))
    assert sentence in said


def test_a_file_that_is_named_must_be_there(tmp_path: Path):
    missing = tmp_path / "missing.toml"
    sentence = f"{missing} does not exist; correct the path, or create the file."
    assert complaint(missing) == sentence
    assert complaint(environ={"TIERWISE_CONFIG": str(missing)}) == sentence


def test_the_home_folder_of_nobody_has_no_file():
    assert "does not exist" in complaint(environ={"TIERWISE_CONFIG": "~nobody-of-that-name/a.toml"})


def test_the_users_config_folder_that_cannot_be_looked_at_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/" + "x" * 5000)
    assert "cannot be read: File name too long" in complaint()


def test_a_folder_is_not_a_file(tmp_path: Path):
    assert complaint(tmp_path) == f"{tmp_path} is a folder; give the path of a file in it."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_says_so(write: Write):
    path = write("")
    path.chmod(0)
    assert "cannot be read: Permission denied" in complaint(path)


def test_a_name_too_long_for_the_file_system_says_so(tmp_path: Path):
    assert "cannot be read: File name too long" in complaint(tmp_path / ("x" * 5000))


def test_configuration_errors_belong_to_the_tree():
    assert issubclass(ConfigurationError, TierwiseError)


# Where the data lives


@pytest.mark.parametrize(
    ("storage_path", "file"),
    [
        (None, "tierwise.db"),
        ("State/usage.json", "State/usage.db"),
        ("State\\usage.json", "State/usage.db"),
        ("ledger.SQLite3", "ledger.SQLite3"),
        ("ledger", "ledger.db"),
        ("State/", "State.db"),
    ],
)
def test_the_database_lies_in_the_data_folder(tmp_path: Path, storage_path: str | None, file: str):
    settings = load(
        environ={"TIERWISE_DATA_DIR": str(tmp_path)},
        overrides={"usage_tracking": {"storage_path": storage_path}},
    )
    assert database_path(settings) == tmp_path / file


@pytest.mark.parametrize(
    "path",
    ["/etc/usage.db", "../usage.db", "a/../../b", "C:\\usage.db", "\\usage", "~/usage.db", ".", "", "a\0b"],
)
def test_a_database_outside_the_data_folder_is_refused(path: str):
    said = complaint(overrides={"usage_tracking": {"storage_path": path}})
    assert "usage_tracking.storage_path: it must name a file inside the data folder" in said
    assert "set data_dir" in said


def test_without_a_data_folder_it_is_the_users():
    assert database_path(load()).name == "tierwise.db"
    assert "tierwise" in database_path(load()).parent.parts


def test_the_data_folder_may_begin_with_the_home_folder(home: Path):
    assert load(environ={"TIERWISE_DATA_DIR": "~/x"}).data_dir == home / "x"


# --env-file


def test_an_env_file_completes_the_environment_and_never_overrides_it(write: Write):
    path = write('# keys\nexport A="from file"\nB=${A}\nC=file\nD\n', ".env")
    environ = {"C": "set before"}
    assert load_env_file(path, environ) == {"A": "from file", "B": "${A}", "C": "set before"}
    assert environ == {"C": "set before"}


def test_a_broken_line_of_an_env_file_is_named_and_not_repeated(write: Write):
    path = write(f"A=1\n{KEY} {KEY}\n", ".env")
    with pytest.raises(ConfigurationError) as raised:
        load_env_file(path, {})
    assert str(raised.value).startswith(f"{path}, line 2: this is not NAME=value;")
    assert KEY not in str(raised.value)


def test_a_missing_env_file_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_env_file(tmp_path / ".env", {})


def test_an_env_file_in_the_working_folder_is_not_read(write: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(write("TIERWISE_SERVER__PORT=1\n", ".env").parent)
    assert load() == Settings()


# Anything at all

_TABLES = [
    (),
    ("litellm",),
    ("litellm", "providers"),
    ("litellm", "providers", "openai"),
    ("litellm", "providers", "openai", "models"),
    ("model_routing",),
    ("model_routing", "rules"),
    ("model_routing", "rules", "simple"),
    ("model_routing", "complexity_factors"),
    ("usage_tracking",),
    ("usage_tracking", "pricing"),
    ("usage_tracking", "pricing", "claude-sonnet-4-20250514"),
    ("caching",),
    ("caching", "semantic"),
    ("defaults",),
    ("server",),
]
_KEYS = (
    st.sampled_from(sorted(set(re.findall(r'"(\w+)":', EXAMPLE + Settings().model_dump_json())))) | st.text()
)
_TEXTS = st.text(st.characters()) | st.text(st.characters(categories=["Cs"]), max_size=2)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
)


def _loads_or_complains(settings: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        said = ""
        try:
            load(path)
        except ConfigurationError as error:
            said = str(error)
            said.encode()
    assert all(line.startswith((str(path), "…")) for line in said.splitlines())
    assert len(said.splitlines()) <= 6


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_any_json_object_loads_or_is_a_configuration_error(settings: dict[str, Any]):
    _loads_or_complains(settings)


@given(st.sampled_from(_TABLES), _KEYS, _VALUES)
def test_the_example_with_anything_put_anywhere_loads_or_is_a_configuration_error(
    table: tuple[str, ...], key: str, value: Any
):
    settings: dict[str, Any] = json.loads(EXAMPLE)
    here = settings
    for part in table:
        here = here.setdefault(part, {})
    here[key] = value
    _loads_or_complains(settings)
