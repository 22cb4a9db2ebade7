"""Tierwise as a library: routing, fallback, budgets, cache and ledger, without MCP between.

    import asyncio

    import tierwise

    async def main() -> None:
        async with tierwise.open() as router:
            answer = await router.chat("What is the capital of Italy?", max_tokens=200)
            print(answer.content, answer.model, answer.cost and tierwise.usd(answer.cost))

            stream = router.stream("Tell me of Rome, please.", tenant="acme")
            async for piece in stream:
                print(piece, end="", flush=True)
            print(stream.receipt.reason)

            plan = await router.analyze("Design a distributed cache")
            print(plan.tier, [candidate.model.id for candidate in plan.candidates])

            usage = await router.usage(days=7, group_by="tenant")
            print(usage.total_calls, usage.total_cost_usd)

    asyncio.run(main())

`tierwise.open()` finds settings and database where the `tierwise` command does; it also takes the path of
a settings file, a dict or `Settings`. Whatever goes wrong is a `TierwiseError` that says what to do next.

What is in `__all__` is the public interface; the modules below it are not.
"""

# This file is `tierwise/__init__.py`. The `tierwise` command imports it on its way to everything else,
# so it imports nothing itself before somebody asks for a name.

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierwise.routing.calls import Receipt
    from tierwise.routing.candidates import Candidate
    from tierwise.routing.errors import (
        AllCandidatesFailed,
        BudgetExceeded,
        DeadlineExceeded,
        InvalidRequest,
        NoCandidate,
        RequestRejected,
        UnknownModel,
        UpstreamError,
    )
    from tierwise.routing.money.pricing import usd
    from tierwise.routing.policy import Plan
    from tierwise.routing.request import Message, Tier, ToolCall
    from tierwise.server.errors import ConfigurationError
    from tierwise.server.library import ChatOptions, Router, Stream, UsageOptions, open
    from tierwise.server.settings import Settings
    from tierwise.server.usage import UsageSummary
    from tierwise.storage.errors import StorageError, TierwiseError

__all__ = [
    "AllCandidatesFailed",
    "BudgetExceeded",
    "Candidate",
    "ChatOptions",
    "ConfigurationError",
    "DeadlineExceeded",
    "InvalidRequest",
    "Message",
    "NoCandidate",
    "Plan",
    "Receipt",
    "RequestRejected",
    "Router",
    "Settings",
    "StorageError",
    "Stream",
    "Tier",
    "TierwiseError",
    "ToolCall",
    "UnknownModel",
    "UpstreamError",
    "UsageOptions",
    "UsageSummary",
    "open",
    "usd",
]

_HOMES = {
    "routing.calls": ("Receipt",),
    "routing.errors": (
        "AllCandidatesFailed",
        "BudgetExceeded",
        "DeadlineExceeded",
        "InvalidRequest",
        "NoCandidate",
        "RequestRejected",
        "UnknownModel",
        "UpstreamError",
    ),
    "routing.candidates": ("Candidate",),
    "routing.policy": ("Plan",),
    "routing.money.pricing": ("usd",),
    "routing.request": ("Message", "Tier", "ToolCall"),
    "server.errors": ("ConfigurationError",),
    "server.library": ("ChatOptions", "Router", "Stream", "UsageOptions", "open"),
    "server.settings": ("Settings",),
    "server.usage": ("UsageSummary",),
    "storage.errors": ("StorageError", "TierwiseError"),
}

if not TYPE_CHECKING:  # with it, type checkers would believe in any name

    def __getattr__(name: str) -> object:
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"tierwise.{home}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
