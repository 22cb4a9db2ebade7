"""What `server.toolset = "full"` adds; a module of its own, so that a server without them starts sooner."""

from typing import Any

from tierwise.server.tools.base import Tool
from tierwise.server.tools.budgets import BUDGET_STATUS, SET_BUDGET
from tierwise.server.tools.compare import COMPARE_MODELS, ESTIMATE_COST
from tierwise.server.tools.media import GENERATE_IMAGE, SPEAK, TRANSCRIBE

MORE_TOOLS: dict[str, Tool[Any]] = {
    tool.name: tool
    for tool in (
        *(SET_BUDGET, BUDGET_STATUS, ESTIMATE_COST, COMPARE_MODELS),
        *(GENERATE_IMAGE, SPEAK, TRANSCRIBE),
    )
}
