"""`tierwise init`, as a shell sees it."""

import json
import tomllib
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.fake_provider import FakeProvider
from tests.server.harness import KEY, Installation, Json
from tierwise.server.configuration import load_settings

pytestmark = pytest.mark.anyio

QUESTIONS = (b"on this machine answer", b"The most to spend", b"start tierwise?")


@pytest.fixture
def bare(tmp_path: Path) -> Installation:
    """A machine on which there is nothing: no settings file, no key, no local server."""
    bare = Installation(tmp_path, {})
    bare.config.unlink()
    bare.environ = {
        "HOME": str(tmp_path),
        "TIERWISE_DATA_DIR": str(bare.data),
        "TIERWISE_LOCAL__SERVERS": "[]",
        "TIERWISE_LOCAL__EMBEDDED": "false",
        "COLUMNS": "200",
    }
    return bare


def settings_file(bare: Installation) -> Path:
    return bare.folder / ".config" / "tierwise" / "tierwise.toml"


def done(ended: CompletedProcess[bytes]) -> str:
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


def complaint(ended: CompletedProcess[bytes]) -> str:
    assert ended.returncode == 1, ended.stdout.decode()
    said = ended.stderr.decode()
    assert "Traceback" not in said
    return said


def tiers(models: Json) -> dict[str, list[str]]:
    """Model names by tier."""
    return {
        tier: [
            f"{item['provider']}/{item['model'].removeprefix(item['provider'] + '/')}"
            for item in models["models"]
            if tier in item["tiers"]
        ]
        for tier in ("simple", "standard", "complex")
    }


async def test_the_file_loads_and_its_tiers_are_those_shown_and_those_that_serve(bare: Installation):
    bare.environ |= {"OPENAI_API_KEY": KEY, "GEMINI_API_KEY": KEY}
    before = tiers(json.loads(done(await bare.run("models", "--json"))))
    ended = await bare.run("init", "--yes")
    shown = done(ended)
    assert not any(question in ended.stdout + ended.stderr for question in QUESTIONS)
    path = settings_file(bare)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY not in path.read_text() + shown + ended.stderr.decode()
    rules = tomllib.loads(path.read_text())["model_routing"]["rules"]
    after = tiers(json.loads(done(await bare.run("models", "--json"))))
    assert {tier: rule["model"] for tier, rule in rules.items()} == before == after
    for names in after.values():
        assert all(name in shown for name in names)
    assert "0.1" in next(line for line in shown.splitlines() if "gpt-6-luna" in line)


async def test_every_key_that_it_writes_as_a_comment_is_one_that_loads(bare: Installation, tmp_path: Path):
    bare.environ["OPENAI_API_KEY"] = KEY
    done(await bare.run("init", "--yes"))
    text = settings_file(bare).read_text()
    head, _, rest = text.partition("\n\n")
    assert all(line.startswith("#") for line in head.splitlines())
    uncommented = "\n".join(line.removeprefix("#").removeprefix(" ") for line in rest.splitlines())
    spoken = ("The models of each tier",)
    file = tmp_path / "all.toml"
    file.write_text("\n".join(line for line in uncommented.splitlines() if not line.startswith(spoken)))
    settings = load_settings(config=file, environ={})
    assert settings.budgets[0].name == "monthly"
    assert "gateway" in settings.litellm.providers


async def test_three_questions_at_most_decide_local_model_budget_and_hosts(
    bare: Installation, fake: FakeProvider
):
    bare.environ |= {"OPENAI_API_KEY": KEY, "TIERWISE_LOCAL__SERVERS": json.dumps([fake.url])}
    (bare.folder / ".cursor").mkdir()
    ended = await bare.run("init", stdin=b"y\n7.50\ny\n")
    done(ended)
    assert all((ended.stdout + ended.stderr).count(question) == 1 for question in QUESTIONS)
    written = tomllib.loads(settings_file(bare).read_text())
    assert written["budgets"][0]["limit_usd"] == 7.5
    first, *others = written["model_routing"]["rules"]["simple"]["model"]
    assert first.startswith("local/")
    assert others == ["openai/gpt-6-luna"]
    assert "tierwise" in json.loads((bare.folder / ".cursor" / "mcp.json").read_text())["mcpServers"]
    answer = json.loads(done(await bare.run("chat", "Hello", "--tier", "simple", "--json")))
    assert (answer["provider"], answer["cost_usd"]) == ("local", 0)


async def test_an_amount_that_is_none_is_asked_for_again(bare: Installation):
    ended = await bare.run("init", stdin=b"much\n-1\nnan\n1e99\n\n")
    done(ended)
    assert (ended.stdout + ended.stderr).count(b"The most to spend") == 5
    assert "budgets" not in tomllib.loads(settings_file(bare).read_text())


async def test_without_an_answer_nothing_is_written(bare: Installation):
    said = complaint(await bare.run("init"))
    assert "--yes" in said
    assert not settings_file(bare).exists()


async def test_with_nothing_found_the_file_leaves_it_to_be_found(bare: Installation):
    assert "demo/small" in done(await bare.run("init", "--yes"))
    assert "model_routing" not in tomllib.loads(settings_file(bare).read_text())
    bare.environ["OPENAI_API_KEY"] = KEY
    models = json.loads(done(await bare.run("models", "--json")))
    assert {item["provider"] for item in models["models"]} == {"openai"}


async def test_a_file_that_is_there_is_replaced_only_by_force_and_kept(bare: Installation):
    path = settings_file(bare)
    path.parent.mkdir(parents=True)
    path.write_text("this is not TOML")
    assert "--force" in complaint(await bare.run("init", "--yes"))
    assert path.read_text() == "this is not TOML"
    done(await bare.run("init", "--yes", "--force"))
    assert [kept.read_text() for kept in path.parent.glob("*.bak")] == ["this is not TOML"]
    assert tomllib.loads(path.read_text())["caching"]["enabled"]


async def test_a_named_file_is_what_the_hosts_are_told_of(bare: Installation):
    (bare.folder / ".cursor").mkdir()
    done(await bare.run("--config", "mine.toml", "init", "--yes", "--install", "cursor"))
    entry = json.loads((bare.folder / ".cursor" / "mcp.json").read_text())["mcpServers"]["tierwise"]
    assert entry["args"][-4:-2] == ["--config", str(bare.folder / "mine.toml")]
    assert "TOML" in complaint(await bare.run("--config", "mine.json", "init", "--yes"))
    (bare.folder / "file").write_text("")
    assert "cannot be made" in complaint(await bare.run("--config", "file/mine.toml", "init", "--yes"))


async def test_with_yes_hosts_are_offered_and_left_alone(bare: Installation):
    (bare.folder / ".cursor").mkdir()
    ended = await bare.run("init", "--yes")
    done(ended)
    assert b"tierwise install cursor" in ended.stderr
    assert not (bare.folder / ".cursor" / "mcp.json").exists()


async def test_without_a_home_folder_none_is_made(bare: Installation):
    home = bare.folder / "nowhere"
    bare.environ["HOME"] = str(home)
    assert "no home folder" in complaint(await bare.run("init", "--yes"))
    assert not home.exists()
    done(await bare.run("--config", str(bare.folder / "mine.toml"), "init", "--yes"))
