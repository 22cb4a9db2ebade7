"""A real browser, and pages in it that must not complain."""

import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.server.harness import Installation

REQUIRED = "TIERWISE_TESTS_REQUIRE_CHROMIUM"
"""Set where tests in the browser must not be skipped."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_NO_BROWSER = (
    "NO BROWSER: the dashboard is not tested. Put Chromium on the PATH (Debian: apt-get install chromium)."
)

expect.set_options(timeout=30_000)  # ms; the page looks again every ten seconds, on a loaded machine later

Opened = Callable[..., Awaitable[Page]]


def _chromium() -> str:
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    if os.environ.get(REQUIRED):
        pytest.fail(_NO_BROWSER)
    pytest.skip(_NO_BROWSER)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    path = _chromium()
    async with async_playwright() as playwright:
        # Chromium refuses to run as root with its sandbox; it opens pages of ours alone.
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    """Opens an address in a tab of its own, with options of Playwright's contexts. At the end none may have
    complained: of an error, a policy that was broken, or a request to elsewhere."""
    complaints: list[str] = []
    expected = ["ERR_CONNECTION_REFUSED"]  # tests end their server before its page, which may look once more
    async with AsyncExitStack() as stack:

        async def open_page(url: str, *, expects: str = "", **options: Any) -> Page:
            context = await stack.enter_async_context(
                await browser.new_context(viewport={"width": 1280, "height": 900}, **options)
            )
            page = await context.new_page()
            page.set_default_timeout(20_000)
            page.on("console", lambda it: complaints.append(it.text) if it.type in NOISE else None)
            page.on("pageerror", lambda it: complaints.append(str(it)))
            page.on("request", lambda it: None if it.url.startswith(LOCAL) else complaints.append(it.url))
            if expects:
                expected.append(expects)
            await page.goto(url)
            return page

        yield open_page
    assert [it for it in complaints if not any(word in it for word in expected)] == []


NOISE = ("error", "warning")
LOCAL = ("http://127.0.0.1:", "data:", "about:", "file:")


@asynccontextmanager
async def dashboard_of(installation: Installation) -> AsyncGenerator[str]:
    """The address that `tierwise dashboard` prints, while it serves."""
    async with installation.process("dashboard", "--no-open") as server:
        line = b""
        while not line.endswith(b"\n"):
            line += await server.read()
        yield line.decode().strip()
