"""Whatever a tool is called with, it answers: with what its schema says, or with what to do."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import validate
from mcp_types import CallToolResult

from tests.faults.hostile import EXAMPLES, Json, arguments
from tests.faults.servers import Server, over_stdio
from tests.server.harness import Installation, keyless, text
from tierwise.server.mcp_server import FULL_TOOLS

LEAKS = re.compile(
    r"Error executing|Traceback|pydantic|object at 0x|input_value|NoneType|sqlite3?\.|litellm\."
)
PATIENCE = 60


@dataclass(frozen=True)
class Caller:
    """Calls tools of a server that runs beside the test."""

    server: Server
    portal: BlockingPortal

    def call(self, tool: str, given: Json) -> CallToolResult:
        return self.portal.call(self._call, tool, given)

    async def _call(self, tool: str, given: Json) -> CallToolResult:
        with anyio.fail_after(PATIENCE):
            return await self.server.client.call_tool(tool, given)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Of one server with every tool, and no model but the demonstration."""
    installation = Installation(tmp_path_factory.mktemp("fuzz"), keyless())
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(over_stdio(installation)) as server,
    ):
        yield Caller(server, portal)


@pytest.mark.parametrize("name", FULL_TOOLS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_tool_answers_whatever_it_is_called_with(caller: Caller, name: str, data: st.DataObject):
    tool = FULL_TOOLS[name].declaration
    drawn = data.draw(arguments(tool.input_schema))
    assume(not LEAKS.search(json.dumps(drawn)))  # what is wrong with an argument quotes its name
    result = caller.call(name, drawn)
    if result.is_error:
        told = text(result)
        assert 10 < len(told) < 3000
        assert not LEAKS.search(told), told
    else:
        validate(result.structured_content, tool.output_schema or {})
    assert caller.server.faults() == []
