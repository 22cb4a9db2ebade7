"""The prompts of a host's menu, and what is suggested for their arguments while they are typed."""

import json

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PromptReference, ResourceTemplateReference, TextContent

from tests.fake_provider import FakeProvider
from tests.server.harness import ERAS, MARKS, Era, Installation, Json, chat, structured
from tierwise.server.prompts import PROMPTS

pytestmark = MARKS


async def prompt(client: Client, name: str, **arguments: str) -> str:
    result = await client.get_prompt(name, arguments)
    [message] = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    assert result.description
    return message.content.text


async def refused(client: Client, name: str, **arguments: str) -> str:
    with pytest.raises(MCPError) as raised:
        await client.get_prompt(name, arguments)
    assert raised.value.code == INVALID_PARAMS
    assert len(raised.value.message) < 500
    return raised.value.message


def part(text: str, name: str) -> Json:
    """The JSON in an element of that name."""
    return json.loads(text.partition(f"<{name}>")[2].partition(f"</{name}>")[0])


@pytest.mark.parametrize("era", ERAS)
async def test_each_prompt_is_listed_with_its_arguments(demo: Installation, era: Era):
    async with demo.client(era) as client:
        listed = {it.name: it for it in (await client.list_prompts()).prompts}
    required = {
        name: [argument.name for argument in it.arguments or () if argument.required]
        for name, it in listed.items()
    }
    assert required == {"second_opinion": ["question"], "cost_report": [], "explain_routing": ["prompt"]}
    for it in listed.values():
        assert it.title
        assert it.description
        assert all(argument.description for argument in it.arguments or ())


@pytest.mark.parametrize("era", ERAS)
async def test_a_second_opinion_names_the_stronger_model_and_asks_nobody(
    installation: Installation, fake: FakeProvider, era: Era
):
    async with installation.client(era) as client:
        text = await prompt(client, "second_opinion", question="Is 91 prime?", answer="Yes.")
        assert '{"tier": "complex", "operation": "second_opinion"}' in text
        assert "fake/large gets it, for about $" in text
        assert "<question>\nIs 91 prime?\n</question>" in text
        assert "<first_answer>\nYes.\n</first_answer>" in text
        assert fake.requests == []
        # What it tells the agent to call is a call that works.
        answer = await chat(client, "Is 91 prime?", tier="complex", operation="second_opinion")
    assert answer["model"] == "fake/large"


async def test_a_second_opinion_can_come_from_a_model_of_ones_own_choice(installation: Installation):
    async with installation.client() as client:
        text = await prompt(client, "second_opinion", question="Is 91 prime?", answer=" ", model="nameless")
        assert '{"model": "nameless", "operation": "second_opinion"}' in text
        assert "unpriced gets it." in text
        assert "First answer the question yourself" in text
        assert "first_answer>" not in text
        said = await refused(client, "second_opinion", question="Is 91 prime?", model="fake-small")
    assert said.startswith("There is no model 'fake-small'")


async def test_a_cost_report_holds_the_figures_of_the_usage_summary(installation: Installation):
    async with installation.client() as client:
        await chat(client, "Hello", tenant="acme")
        await chat(client, "Hello there", tenant="umbrella", metadata={"team": "blue"})
        arguments: Json = {"days": 7, "group_by": "tenant", "filters": {"tenant": "acme"}}
        summary = structured(await client.call_tool("usage_summary", arguments))
        text = await prompt(client, "cost_report", days="7", group_by="tenant", only="tenant:acme")
        everything = await prompt(client, "cost_report", days="", only="")
        labelled = await prompt(client, "cost_report", only="metadata.team:blue")
    assert part(text, "figures") == {"usage": summary, "budgets": {"budgets": []}}
    assert "in the last 7 days, only those of tenant:acme" in text
    assert part(everything, "figures")["usage"]["total_calls"] == 2
    assert part(labelled, "figures")["usage"]["total_calls"] == 1
    assert part(everything, "figures")["usage"]["period_days"] == 30


async def test_the_routing_is_explained_from_the_plan_that_chat_follows(installation: Installation):
    async with installation.client() as client:
        text = await prompt(client, "explain_routing", prompt="Hello")
        plan = structured(await client.call_tool("analyze_complexity", {"prompt": "Hello"}))
    assert part(text, "plan") == plan
    assert "<prompt>\nHello\n</prompt>" in text


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_prompt_is_refused_with_the_known_ones(demo: Installation, era: Era):
    async with demo.client(era) as client:
        said = await refused(client, "x" * 5000)
    assert said.endswith("Known: second_opinion, cost_report, explain_routing.")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("second_opinion", {}, "`question` is missing."),
        ("second_opinion", {"question": "  "}, "`question` is missing."),
        ("second_opinion", {"question": "a\0b"}, "`question` holds a null byte"),
        ("second_opinion", {"question": "?", "anser": "!"}, "did you mean `answer`?"),
        ("cost_report", {"days": "0"}, "`days` must be at least 1."),
        ("cost_report", {"days": "9" * 5000}, "`days` must be a whole number."),
        ("cost_report", {"days": "a week"}, "`days` must be a whole number."),
        ("cost_report", {"group_by": "colour"}, "`group_by` has 'colour', which is none of"),
        ("cost_report", {"only": "acme"}, "such as tenant:acme."),
        ("cost_report", {"only": "colour:red"}, "`only` must be one of provider, model, tier"),
        ("cost_report", {"only": "tenant:"}, "such as tenant:acme."),
        ("cost_report", {"only": "metadata.:x"}, "such as tenant:acme."),
        ("cost_report", {"only": f"metadata.{'k' * 300}:x"}, "which is none of provider"),
        ("explain_routing", {"prompt": ""}, "`prompt` is missing."),
    ],
)
async def test_wrong_arguments_are_refused_with_a_sentence(
    demo: Installation, name: str, arguments: dict[str, str], said: str
):
    async with demo.client() as client:
        assert said in await refused(client, name, **arguments)


# Completion


async def suggested(client: Client, ref: str, name: str, typed: str = "", **others: str) -> list[str]:
    """What is suggested for an argument of the prompt or of the resource template `ref`."""
    reference = ResourceTemplateReference(uri=ref) if "://" in ref else PromptReference(name=ref)
    found = (await client.complete(reference, {"name": name, "value": typed}, others)).completion
    assert found.total == len(found.values)
    assert found.has_more is False
    return found.values


@pytest.mark.parametrize("era", ERAS)
async def test_models_and_aliases_are_suggested(installation: Installation, era: Era):
    async with installation.client(era) as client:
        every = await suggested(client, "second_opinion", "model")
        small = await suggested(client, "second_opinion", "model", "SMALL")
        beginning = await suggested(client, "second_opinion", "model", "n")
    assert every == ["nameless", "fake/small", "fake/standard", "fake/large", "unpriced"]
    assert small == ["fake/small"]
    assert beginning == ["nameless", "fake/standard", "unpriced"]  # what begins so comes first


@pytest.mark.parametrize("era", ERAS)
async def test_a_filter_is_suggested_in_two_steps_from_what_the_ledger_holds(demo: Installation, era: Era):
    async with demo.client(era) as client:
        await chat(client, "Hello", tenant="acme", agent="reviewer", operation="review")
        await chat(client, "Hello", tenant="umbrella: corp")
        await chat(client, "Hello")
        for typed, expected in {
            "ten": ["tenant:"],
            "tenant:": ["tenant:acme", "tenant:umbrella: corp"],
            "tenant:corp": [],
            "tenant:Umbrella:": ["tenant:umbrella: corp"],
            "operation:r": ["operation:review"],
            "agent:": ["agent:reviewer"],
            "tier:": ["tier:simple", "tier:standard", "tier:complex"],
            "model:": ["model:demo/small"],
            "colour:": [],
        }.items():
            assert sorted(await suggested(client, "cost_report", "only", typed)) == sorted(expected), typed


async def test_the_parameters_of_each_resource_template_are_suggested(demo: Installation):
    terms = {"limit_usd": 5, "period": "day"}
    budgets = [
        {"name": "a", **terms, "scope": "tenant", "value": "acme"},
        {"name": "b", **terms, "scope": "overall"},
    ]
    demo.configure({"budgets": budgets})
    async with demo.client() as client:
        listed = {it.uri_template for it in (await client.list_resource_templates()).resource_templates}
        expected = {
            ("usage://summary/{days}", "days"): ["1", "7", "30", "90", "365"],
            ("usage://savings/{days}", "days"): ["1", "7", "30", "90", "365"],
            ("usage://timeseries/{granularity}/{days}", "granularity"): ["hourly", "daily", "monthly"],
            ("usage://timeseries/{granularity}/{days}", "days"): ["1", "7", "30", "90", "365"],
            ("usage://export/{format}/{days}", "format"): ["csv", "json", "jsonl", "parquet"],
            ("usage://export/{format}/{days}", "days"): ["1", "7", "30", "90", "365"],
            ("usage://budget/{scope}", "scope"): [
                "all",
                "overall",
                "tenant",
                "agent",
                "operation",
                "tenant:acme",
            ],
            # Whoever knows the id of a call may see what it has made.
            ("media://{call_id}/{n}", "call_id"): [],
            ("media://{call_id}/{n}", "n"): [],
        }
        for (template, name), values in expected.items():
            assert await suggested(client, template, name) == values
        hourly = "usage://timeseries/{granularity}/{days}"
        assert await suggested(client, hourly, "days", granularity="hourly") == ["1", "7", "30", "90"]
    assert {template for template, _ in expected} == listed


async def test_every_argument_has_suggestions_but_free_text(demo: Installation):
    async with demo.client() as client:
        silent = {
            (name, argument)
            for name, it in PROMPTS.items()
            for argument in it.arguments.model_fields
            if not await suggested(client, name, argument)
        }
    assert silent == {
        ("second_opinion", "question"),
        ("second_opinion", "answer"),
        ("explain_routing", "prompt"),
    }


@pytest.mark.parametrize("era", ERAS)
async def test_at_most_a_hundred_values_are_sent_with_word_of_the_rest(demo: Installation, era: Era):
    aliases = {f"alias-{number}": "large" for number in range(150)}
    demo.configure(
        {"litellm": {"providers": {"many": {"api_base": "http://127.0.0.1:9/v1", "models": aliases}}}}
    )
    async with demo.client(era) as client:
        argument = {"name": "model", "value": "alias-"}
        found = (await client.complete(PromptReference(name="second_opinion"), argument)).completion
    assert (len(found.values), found.total, found.has_more) == (100, 150, True)


@pytest.mark.parametrize(
    ("ref", "name", "said"),
    [
        (PromptReference(name="nobody"), "question", "There is no prompt 'nobody'. Known: second_opinion"),
        (PromptReference(name="cost_report"), "colour", "There is no argument 'colour' there. Known: days"),
        (
            ResourceTemplateReference(uri="usage://x/{y}"),
            "y",
            "There is no resource template 'usage://x/{y}'",
        ),
        (ResourceTemplateReference(uri="usage://summary/{days}"), "scope", "There is no argument 'scope'"),
    ],
)
async def test_suggestions_for_what_there_is_not_are_refused(
    demo: Installation, ref: PromptReference | ResourceTemplateReference, name: str, said: str
):
    async with demo.client() as client:
        with pytest.raises(MCPError, match="There is no") as raised:
            await client.complete(ref, {"name": name, "value": ""})
    assert raised.value.code == INVALID_PARAMS
    assert raised.value.message.startswith(said)


@pytest.mark.parametrize(
    "typed",
    ["", "x" * 1_000_000, "%", "'; DROP TABLE calls; --"],
)
async def test_whatever_is_typed_gets_an_answer(demo: Installation, typed: str):
    async with demo.client() as client:
        await chat(client, "Hello", tenant="acme")
        assert await suggested(client, "cost_report", "only", f"tenant:{typed}") in ([], ["tenant:acme"])
