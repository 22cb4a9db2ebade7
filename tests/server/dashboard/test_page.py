"""The dashboard in a real browser, on ledgers that are real."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.bench.traffic import MODELS, TENANTS, fill
from tests.server.books import record
from tests.server.dashboard.conftest import Opened, dashboard_of
from tests.server.harness import MARKS, Installation, Json, keyless, structured
from tests.storage.samples import HOUR, attempt, call
from tierwise.server.configuration import load_settings
from tierwise.server.settings import database_path
from tierwise.storage.records import CallRecord, CallStatus

pytestmark = MARKS

MILLION = 10**6
NAMELESS, FAINT = ((Path(__file__).parent / name).read_text() for name in ("nameless.js", "faint.js"))
_NANO = 10**9


def now() -> int:
    return time.time_ns() // 1_000_000


def made(number: int, **changes: Any) -> CallRecord:
    """A call of a few minutes ago that cost `number` cents."""
    tried = attempt(started_at=now(), cost_nano_usd=number * _NANO // 100, latency_ms=100.0 * number)
    labels = {"started_at": now() - number * 1000, "latency_ms": 100.0 * number, "saved_nano_usd": _NANO}
    return call(f"call-{number}", tried, **{**labels, **changes})


def texts(page: Page, selector: str) -> Any:
    return page.locator(selector).all_inner_texts()


async def tile(page: Page, name: str) -> str:
    return (await page.locator(f"#tile-{name} dd").first.inner_text()).strip()


async def summary(installation: Installation, **arguments: Any) -> Json:
    async with installation.client() as client:
        return structured(await client.call_tool("usage_summary", arguments))


# However many calls there are


async def test_a_ledger_without_calls_says_how_to_make_one(demo: Installation, opened: Opened):
    async with dashboard_of(demo) as url:
        page = await opened(url)
        await expect(page.locator("#empty")).to_contain_text("No calls in this period yet")
        assert await tile(page, "spend") == "$0.00"
        await expect(page.locator("#health")).to_contain_text("demo/small")
        await expect(page.locator("#spend")).to_be_hidden()


async def test_settings_that_keep_no_ledger_are_named(demo: Installation, opened: Opened):
    demo.configure({"usage_tracking": {"enabled": False}})
    async with dashboard_of(demo) as url:
        page = await opened(url)
        await expect(page.locator("#empty")).to_contain_text("usage_tracking.enabled is false")


async def test_one_call_is_shown_with_its_cost_and_latency(demo: Installation, opened: Opened):
    await record(demo, made(3, operation="title", tenant="acme"))
    async with dashboard_of(demo) as url:
        page = await opened(url)
        await expect(page.locator("#calls tbody tr")).to_have_count(1)
        row = await page.locator("#calls tbody tr").inner_text()
        assert (
            re.sub(r"\s+", " ", row).split(" ", 3)[3].startswith("small simple title acme answered 13 $0.03")
        )
        assert (await tile(page, "spend"), await tile(page, "calls")) == ("$0.03", "1")
        await expect(page.locator("#latency")).to_contain_text("median 300 ms")
        await expect(page.locator("#spend canvas")).to_be_visible()


@pytest.fixture(scope="module")
async def million(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The dashboard of a ledger of a million calls."""
    installation = Installation(tmp_path_factory.mktemp("million"), keyless())
    path = database_path(load_settings(config=None, environ=installation.environ))
    await fill(path, MILLION, end=now())
    async with dashboard_of(installation) as url:
        yield url
    path.unlink()


async def test_a_million_calls_are_shown_whole_and_filtered(million: str, opened: Opened):
    page = await opened(million)
    await expect(page.locator("#calls tbody tr")).to_have_count(25)
    await page.select_option("#filter-days", "365")
    await expect(page.locator("#tile-calls dd").first).to_have_text("1M")
    await page.select_option("#filter-tenant", f"={TENANTS[3]}")
    await expect(page.locator("#tile-calls dd").first).to_have_text(re.compile(r"^(9\d|10\d)(\.\d)?K$"))
    shown = {row.split("\t")[4] for row in await texts(page, "#calls tbody tr")}
    assert shown == {TENANTS[3]}
    assert len(await texts(page, "#mix tbody tr")) == len(MODELS)


# The figures are those of the tools


@pytest.fixture
async def busy(demo: Installation) -> Installation:
    """An installation with a few calls of two tenants, one of them from the cache, one failed."""
    await record(
        demo,
        made(1, tenant="acme", agent="bot"),
        made(2, tenant="acme", model="large", tier="complex", operation="review"),
        made(4, tenant="globex"),
        call("cached", started_at=now(), latency_ms=2.0, cached=True, saved_nano_usd=_NANO),
        made(8, tenant="globex", status=CallStatus.FAILED, error="Timeout"),
        made(16, tenant="globex", started_at=now() - 72 * HOUR),
    )
    return demo


async def test_the_figures_are_those_of_the_tools(busy: Installation, opened: Opened):
    told = await summary(busy, days=30)
    async with dashboard_of(busy) as url:
        page = await opened(url)
        assert await tile(page, "spend") == f"${told['total_cost_usd']:.2f}"
        assert await tile(page, "saved") == f"${told['saved_usd']:.2f}"
        assert await tile(page, "calls") == str(told["total_calls"]) == "6"
        assert await tile(page, "cache") == "16.7%"
        assert await tile(page, "failed") == "16.7%"
        await page.locator("#spend summary").click()
        days = await texts(page, "#spend tbody tr td:nth-child(2)")
        assert sum(float(cost.removeprefix("$")) for cost in days) == pytest.approx(told["total_cost_usd"])
        models = {row.split("\t")[0]: row.split("\t")[3] for row in await texts(page, "#mix tbody tr")}
        assert models == {"small": "$0.31", "large": "$0.00"}  # it was tried on small, and served by large


async def test_filters_narrow_every_figure_and_can_be_cleared(busy: Installation, opened: Opened):
    told = await summary(busy, days=1, filters={"tenant": "acme"})
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await page.select_option("#filter-tenant", "=acme")
        await expect(page.locator("#tile-calls dd").first).to_have_text("2")
        await page.select_option("#filter-days", "1")
        await expect(page.locator("#status")).to_have_text(re.compile(r"^\d+ \w+, UTC$"))
        assert await tile(page, "spend") == f"${told['total_cost_usd']:.2f}" == "$0.03"
        await expect(page.locator("#calls tbody tr")).to_have_count(2)
        await page.select_option("#filter-operation", "=review")
        await expect(page.locator("#calls tbody tr")).to_have_count(1)
        assert "tenant=acme" in page.url
        await page.reload()
        await expect(page.locator("#calls tbody tr")).to_have_count(1)
        await page.select_option("#filter-agent", "=bot")
        await expect(page.locator("#empty")).to_have_text("No calls match these filters in this period.")
        await page.click("#reset")
        await expect(page.locator("#tile-calls dd").first).to_have_text("6")
        await page.select_option("#filter-tenant", "=")
        await expect(page.locator("#tile-calls dd").first).to_have_text("1")


async def test_new_calls_appear_while_it_is_live_and_what_is_open_stays_open(
    busy: Installation, opened: Opened
):
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await expect(page.locator("#live")).to_have_attribute("aria-pressed", "true")
        await page.locator("#spend summary").focus()
        await page.keyboard.press("Enter")
        await record(busy, made(32))
        await expect(page.locator("#tile-calls dd").first).to_have_text("7")
        assert await page.evaluate("document.querySelector('#spend details').open")
        assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"


async def test_budgets_show_what_is_spent_and_held(busy: Installation, opened: Opened):
    busy.configure({"budgets": [{"name": "all of it", "period": "total", "limit_usd": 0.62}]})
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await expect(page.locator("#budgets")).to_contain_text("$0.31 of $0.62 a lifetime · 50%")


# Whoever uses it


async def test_the_keyboard_reaches_all_that_can_be_used_and_walks_through_the_charts(
    busy: Installation, opened: Opened
):
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await expect(page.locator("#calls")).to_be_visible()
        reached: list[str] = []
        await page.keyboard.press("Tab")
        while (here := await page.evaluate(_WHERE)) not in reached:  # it begins anew after the last one
            reached.append(here)
            await page.keyboard.press("Tab")
        order = [
            "skip",
            "live",
            "refresh",
            "theme",
            "forget",
            "filter-days",
            "filter-tenant",
            "reset",
            "split",
        ]
        order += [
            "spend plot",
            "spend SUMMARY",
            "cache plot",
            "mix scroll",
            "latency SUMMARY",
            "calls scroll",
        ]
        assert [name for name in reached if name in order] == order
        await page.locator("#spend .plot").focus()
        await page.keyboard.press("End")
        await expect(page.locator("#spend .tip")).to_be_visible()
        await expect(page.locator("#announcements")).to_contain_text("together $0.15, small $0.15")
        await page.keyboard.press("Escape")
        await expect(page.locator("#spend .tip")).to_be_hidden()


_WHERE = """(() => {
    const it = document.activeElement, card = it.closest(".card");
    return it.id || it.name || [card?.id, it.classList[0] ?? it.tagName].filter(Boolean).join(" ");
})()"""


async def test_everything_has_a_name_and_enough_contrast_in_light_and_dark(
    busy: Installation, opened: Opened
):
    async with dashboard_of(busy) as url:
        for scheme in ("light", "dark"):
            page = await opened(url, color_scheme=scheme)
            await expect(page.locator("#calls")).to_be_visible()
            assert await page.evaluate(NAMELESS) == []
            assert await page.evaluate(FAINT) == []


async def test_colours_follow_the_system_until_they_are_chosen(busy: Installation, opened: Opened):
    background = "getComputedStyle(document.documentElement).backgroundColor"
    async with dashboard_of(busy) as url:
        page = await opened(url, color_scheme="dark")
        await expect(page.locator("#spend canvas")).to_be_visible()
        assert await page.evaluate(background) == "rgb(14, 17, 22)"
        await page.select_option("#theme", "light")
        assert await page.evaluate(background) == "rgb(245, 246, 248)"
        await page.reload()
        assert await page.evaluate(background) == "rgb(245, 246, 248)"


async def test_a_narrow_screen_scrolls_only_downwards(busy: Installation, opened: Opened):
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await page.set_viewport_size({"width": 360, "height": 700})
        await expect(page.locator("#calls")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360


# Hostile names


HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\"'><svg onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "__proto__",
    "evil \u202e txt.exe",
)


async def test_hostile_names_are_shown_letter_by_letter_and_do_nothing(demo: Installation, opened: Opened):
    await record(
        demo,
        *(
            made(
                number,
                tenant=name,
                agent=name,
                operation=name,
                model=name,
                tier=name,
                status="failed",
                error=name,
            )
            for number, name in enumerate(HOSTILE, start=1)
        ),
    )
    demo.configure({"budgets": [{"name": name, "period": "total", "limit_usd": 1} for name in HOSTILE[:3]]})
    async with dashboard_of(demo) as url:
        page = await opened(url)
        await expect(page.locator("#calls tbody tr")).to_have_count(len(HOSTILE))
        assert [row.split("\t")[1] for row in await texts(page, "#calls tbody tr")] == list(HOSTILE)
        for name in HOSTILE:
            await page.select_option("#filter-tenant", f"={name}")
            await expect(page.locator("#calls tbody tr")).to_have_count(1)
            await page.select_option("#filter-tenant", "*")
            await expect(page.locator("#calls tbody tr")).to_have_count(len(HOSTILE))
        assert await page.evaluate("[window.hacked, {}.hacked]") == [None, None]
        assert await page.locator("main img, main svg, main script").count() == 0


# The token


async def test_the_address_loses_the_token_and_the_tab_keeps_it(busy: Installation, opened: Opened):
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await expect(page.locator("#calls")).to_be_visible()
        assert "#" not in page.url
        await page.reload()
        await expect(page.locator("#calls")).to_be_visible()
        await page.click("#forget")
        await expect(page.locator("#login")).to_be_visible()
        await expect(page.locator("main")).to_be_hidden()
        await page.goto(url)
        await expect(page.locator("#calls")).to_be_visible()


async def test_without_the_token_the_page_asks_for_it(busy: Installation, opened: Opened):
    async with dashboard_of(busy) as url:
        address, _, token = url.partition("#token=")
        page = await opened(address, expects="401 (Unauthorized)")
        await expect(page.locator("#token")).to_be_focused()
        await expect(page.locator("main")).to_be_hidden()
        await page.keyboard.type("not the tökën")
        await page.keyboard.press("Enter")
        await expect(page.locator("#alert")).to_have_text("That is not the token.")
        await page.keyboard.type(token)
        await page.keyboard.press("Enter")
        await expect(page.locator("#tile-calls dd").first).to_have_text("6")
        await expect(page.locator("#alert")).to_be_hidden()


async def test_a_server_that_has_gone_is_told_and_the_figures_stay(busy: Installation, opened: Opened):
    async with dashboard_of(busy) as url:
        page = await opened(url)
        await expect(page.locator("#calls")).to_be_visible()
    await page.click("#refresh")
    await expect(page.locator("#alert")).to_have_text("The server does not answer. Is it still running?")
    assert await tile(page, "calls") == "6"
