"""JSON-RPC messages as lines: from a stream of text to the server and back.

The SDK's own reader drops what it cannot read without a word, and whoever sent it waits in vain. Here a
request whose id can be made out is answered with what is wrong with it.
"""

import logging
import re
from collections.abc import AsyncIterable, Iterator
from typing import Any, Protocol

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from pydantic import TypeAdapter, ValidationError

_log = logging.getLogger(__name__)

_MOST_SEARCHED = 2**20
"""Characters of a broken message in which its id is looked for."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_ID: TypeAdapter[types.RequestId] = TypeAdapter(types.RequestId)
_NO_REQUEST = (
    'This is no JSON-RPC request: it needs "jsonrpc": "2.0", a `method`, an `id` that is text or a whole'
    " number, and where there are `params`, an object."
)
_HALF_A_CHARACTER = "The request holds half of a surrogate pair, which is no character; take it out."


class Sink(Protocol):
    """Where lines go."""

    async def write(self, text: str, /) -> Any: ...
    async def flush(self) -> Any: ...


async def serve_lines(server: Server[Any], source: AsyncIterable[str], sink: Sink) -> None:
    """Serve the client behind the two streams until there is nothing more to read."""
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, source, to_server, to_client.clone())
        tasks.start_soon(_write, from_server, sink, tasks.cancel_scope)
        await server.run(from_client, to_client, server.create_initialization_options())


async def _read(
    source: AsyncIterable[str],
    to_server: MemoryObjectSendStream[SessionMessage | Exception],
    to_client: MemoryObjectSendStream[SessionMessage],
) -> None:
    async with to_server, to_client:
        async for line in source:
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError as error:
                if refusal := _refusal(line, error):
                    await to_client.send(SessionMessage(refusal))
            else:
                try:
                    await to_server.send(SessionMessage(message))
                except anyio.BrokenResourceError:
                    return  # the server has ended


async def _write(
    from_server: MemoryObjectReceiveStream[SessionMessage], sink: Sink, scope: anyio.CancelScope
) -> None:
    async with from_server:
        async for message in from_server:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                await sink.write(text + "\n")
                await sink.flush()
            except OSError:
                _log.warning("The client has closed the stream that it reads: the server ends.")
                scope.cancel()
                return


def _refusal(line: str, error: ValidationError) -> types.JSONRPCError | None:
    """The answer to what should have been a request; None if it was none, or nobody can be answered."""
    members = dict(_members(line[:_MOST_SEARCHED])) if line.lstrip().startswith("{") else {}
    try:
        identity = _ID.validate_json(members.get('"id"', ""))
    except ValidationError:
        identity = None
    if identity is None or members.keys() & {'"result"', '"error"'}:
        if line.strip():
            _log.warning("A line that is no JSON-RPC message came in, and is passed over.")
        return None
    problem = error.errors(include_url=False, include_input=False)[0]
    return types.JSONRPCError(jsonrpc="2.0", id=identity, error=_complaint(problem))


def _complaint(problem: Any) -> types.ErrorData:
    if problem["type"] != "json_invalid":
        return types.ErrorData(code=types.INVALID_REQUEST, message=_NO_REQUEST)
    reason: str = problem["msg"].removeprefix("Invalid JSON: ")
    if "surrogate" in reason or "hex escape" in reason:
        return types.ErrorData(code=types.INVALID_PARAMS, message=_HALF_A_CHARACTER)
    return types.ErrorData(code=types.PARSE_ERROR, message=f"The request cannot be read as JSON: {reason}.")


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of the outermost object as far as it can be followed: each name, quoted, with the first
    token of its value."""
    tokens = _TOKEN.findall(text)
    whole = tokens if tokens[-1:] == ["}"] else tokens[:-1]  # the last one may have been cut
    depth, before = 0, ("", "")
    for token in whole:
        if depth == 1 and before[1] == ":" and before[0].startswith('"'):
            yield before[0], token
        depth += (token in ("{", "[")) - (token in ("}", "]"))
        before = before[1], token
