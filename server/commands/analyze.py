"""`tierwise analyze`."""

import json
from collections.abc import Mapping
from typing import Any, BinaryIO, TextIO, cast

from pydantic import BaseModel, ValidationError

from tierwise.server.commands.console import dollars, note, write_json, write_table
from tierwise.server.judging import Judge, learned_judge
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.analysis import ANALYZE_COMPLEXITY, Analysis, AnalyzeArguments, analysis
from tierwise.server.tools.base import ToolContext
from tierwise.server.tools.conversation import Turn, messages


class _Line(BaseModel):
    """One line of `--jsonl`; what else it holds is ignored."""

    id: Any = None
    prompt: str
    history: list[Turn] = []


def run_analyze(settings: Settings, environ: Mapping[str, str], prompt: str, *, as_json: bool) -> None:
    """Show the plan for one prompt.

    Raises:
        TierwiseError: the prompt is none, or the settings name a model that does not exist.
    """
    found = run(_analyze, settings, environ, ANALYZE_COMPLEXITY.parse({"prompt": prompt}))
    if as_json:
        write_json(found)
        return
    write_table(
        ["score", "tier", "confidence", "model"],
        [
            [
                f"{found.complexity_score:.3f}",
                found.tier,
                f"{found.confidence:.2f}",
                found.selected_model or "none",
            ]
        ],
    )
    note(f"{found.reason}\n")
    write_table(
        ["candidate", "tier", "estimate", "why"],
        [
            *(
                [item.model, item.tier, dollars(item.estimated_cost_usd), item.reason]
                for item in found.candidates
            ),
            *([item.model, item.tier, "left out", item.reason] for item in found.excluded),
        ],
    )


async def _analyze(settings: Settings, environ: Mapping[str, str], arguments: AnalyzeArguments) -> Analysis:
    async with open_runtime(settings, environ) as engine:
        return await analysis(ToolContext(engine, settings), arguments)


def run_jsonl(settings: Settings, lines: BinaryIO, out: TextIO) -> int:
    """Judge each line as it comes and write one for it, in order; says 1 if any line was broken.

    Raises:
        StorageError: there is a database, and it cannot be used.
    """
    exit_code, judge = 0, run(learned_judge, settings)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = _judge(judge, _Line.model_validate_json(line))
        except ValidationError as error:
            exit_code = 1
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            result = {
                "line": number,
                "id": _id_of(line),
                "error": f"{where}: {problem['msg']}".removeprefix(": "),
            }
        out.write(json.dumps(result) + "\n")
        out.flush()
    return exit_code


def _id_of(line: bytes) -> Any:
    try:
        parsed: Any = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", parsed).get("id") if isinstance(parsed, dict) else None


def _judge(judge: Judge, line: _Line) -> dict[str, Any]:
    found = judge.judge(line.prompt, messages(line.history))
    return {"id": line.id, "score": found.score, "tier": found.tier, "p_cheap_fails": found.p_cheap_fails}
