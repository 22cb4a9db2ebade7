"""What a settings file that came from elsewhere cannot do: take other secrets along, or hide keys in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tierwise.server.configuration import load_settings
from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import Settings, named_variables

Write = Callable[[str], Path]

KEY = "sk-proj-Abc123Def456Ghi789"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def load(
    config: Path | None = None, environ: Mapping[str, str] = {}, overrides: Mapping[str, Any] = {}
) -> Settings:
    return load_settings(config=config, environ=environ, overrides=overrides)


def complaint(config: Path | None = None, environ: Mapping[str, str] = {}) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(config, environ)
    return str(raised.value)


NAMERS = {
    "litellm.providers.gateway.api_key_env": "TIERWISE_LITELLM__PROVIDERS__GATEWAY__API_KEY_ENV",
    "alerts.webhook_secret_env": "TIERWISE_ALERTS__WEBHOOK_SECRET_ENV",
    "server.token_env": "TIERWISE_SERVER__TOKEN_ENV",
}


@pytest.mark.parametrize("key", NAMERS)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "HOME", "SSH_AUTH_SOCK", "TIERWISE_SERVER__PORT"])
def test_a_settings_file_cannot_name_a_variable_that_holds_something_else(
    write: Write, key: str, variable: str
):
    said = complaint(write(f'{key} = "{variable}"'))
    assert f"line 1: {key}: a settings file may name only variables whose names say that they hold a" in said
    assert "rename the variable, or name it in the environment" in said
    assert variable not in said


@pytest.mark.parametrize(
    "variable", ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "AZURE_STORAGE_KEY", "PGPASSWORD"]
)
def test_a_settings_file_cannot_send_another_secret_to_a_provider(write: Write, variable: str):
    gateway = f'api_base = "https://evil.example/v1"\napi_key_env = "{variable}"'
    said = complaint(write(f"[litellm.providers.gateway]\n{gateway}"))
    assert "line 3: litellm.providers.gateway.api_key_env: a settings file may name only" in said
    assert NAMERS["litellm.providers.gateway.api_key_env"].replace("GATEWAY", "<NAME>") in said


@pytest.mark.parametrize(
    "variable",
    [
        *("OPENAI_API_KEY", "GATEWAY_API_KEY", "OPENAI_API_KEY_TEAM_2", "HF_TOKEN", "WATSONX_APIKEY"),
        *("OPENAI_KEY", "AZURE_OPENAI_KEY", "LITELLM_MASTER_KEY", "openai_api_key"),
    ],
)
def test_a_settings_file_may_name_a_variable_that_by_its_name_holds_a_providers_key(
    write: Write, variable: str
):
    settings = load(write(f'litellm.providers.any.api_key_env = "{variable}"'))
    assert settings.litellm.providers["any"].api_key_env == variable


@pytest.mark.parametrize("key", NAMERS)
def test_the_environment_and_the_command_line_may_name_any_variable(write: Write, key: str):
    file = write(f'{key} = "DATABASE_URL"')
    named = named_variables(load(file, {NAMERS[key]: "GITHUB_TOKEN"}))
    assert "GITHUB_TOKEN" in named
    assert "DATABASE_URL" not in named
    *path, last = key.split(".")
    tree: dict[str, Any] = {last: "PLAIN"}
    for part in reversed(path):
        tree = {part: tree}
    assert "PLAIN" in named_variables(load(overrides=tree))


def test_naming_a_variable_outside_the_file_does_not_let_the_file_name_others(write: Write):
    file = write('litellm.providers.gateway.api_key_env = "GITHUB_TOKEN"')
    assert "a settings file may name only" in complaint(file, {NAMERS["server.token_env"]: "MY_TOKEN"})


def test_the_variable_with_the_servers_token_is_no_setting_in_its_own_spelling_only():
    assert load(environ={"TIERWISE_SERVER_TOKEN": "x" * 40}).server == Settings().server
    said = complaint(environ={"tierwise_server_token": "x" * 40})
    assert said.startswith("tierwise_server_token is not a variable that tierwise knows")
    assert "xxx" not in said


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/v1",
        "https://hunter2@host/v1",
        "https://:@host/v1",
        "https://host/v1?api_key=hunter2",
        "https://host/v1?subscription-key=hunter2",
        "https://host/v1?x=1&access_token=hunter2",
        f"https://host/{KEY}/v1",
        "https://host/v1?a=%73k-proj-Abc123Def456",
    ],
)
def test_an_address_of_a_provider_that_holds_a_key_is_refused_and_not_repeated(write: Write, url: str):
    for setting, place in (
        (f'litellm.providers.gateway.api_base = "{url}"', "litellm.providers.gateway.api_base"),
        (f'local.servers = ["{url}"]', "local.servers[0]"),
    ):
        said = complaint(write(setting))
        assert f"line 1: {place}: it must hold no " in said
        assert "api_key_env" in said
        assert "hunter2" not in said
        assert "sk-proj" not in said


@pytest.mark.parametrize(
    "url", ["https://host/openai?api-version=2024-05-01", "https://router.huggingface.co/hf-inference/v1"]
)
def test_an_address_of_a_provider_that_only_resembles_one_with_a_key_is_taken(write: Write, url: str):
    settings = load(write(f'litellm.providers.gateway.api_base = "{url}"'))
    assert settings.litellm.providers["gateway"].api_base == url
