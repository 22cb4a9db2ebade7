"""`tierwise chat`."""

from collections.abc import Mapping
from typing import Any

from tierwise.server.commands.console import STDERR, dollars, note, write_answer, write_json
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.chat import CHAT, ChatArguments, ChatResult, chat_result_of


def run_chat(
    settings: Settings, environ: Mapping[str, str], prompt: str, options: Mapping[str, Any], *, as_json: bool
) -> None:
    """Answer one prompt: the answer to stdout, the receipt's gist to stderr.

    Raises:
        TierwiseError: the arguments do not fit, or no model answered.
    """
    given = {name: value for name, value in options.items() if value is not None}
    arguments = CHAT.parse({"prompt": prompt, **given})
    result = run(_chat, settings, environ, arguments)
    if as_json:
        write_json(result)
        return
    write_answer(result.content)
    note(_gist(result))


async def _chat(settings: Settings, environ: Mapping[str, str], arguments: ChatArguments) -> ChatResult:
    async with open_runtime(settings, environ) as engine:
        with STDERR.status("Asking…"):
            call = await engine.start(arguments.request(settings.usage_tracking))
            await call.wait(None)
        return chat_result_of(call.receipt())


def _gist(result: ChatResult) -> str:
    cost = "from the cache" if result.cached else dollars(result.cost_usd)
    return (
        f"{result.model} ({result.tier}) · {result.total_tokens} tokens · {cost} · {result.latency_ms:.0f} ms"
    )
