"""`python -m tierwise.routing.training`: fits the heads, writes `weights.json` and `REPORT.md`."""

import json
import sys
from pathlib import Path

from tierwise.routing.analysis.model import Head, Model, parse_model
from tierwise.routing.training.data import load
from tierwise.routing.training.fit import fit
from tierwise.routing.training.report import write

WEIGHTS = Path(__file__).parent.parent / "analysis" / "weights.json"


def serialise(model: Model) -> str:
    """The text of a weights file; four decimals, so that machines agree on every digit."""
    heads = {"tier": model.tier, "cut": model.cut, "fails": model.fails}
    plain = {name: _plain(part) if isinstance(part, Head) else round(part, 4) for name, part in heads.items()}
    return json.dumps(plain, indent=1) + "\n"


def _plain(head: Head) -> dict[str, float | dict[str, float]]:
    weights = {name: round(weight, 4) for name, weight in sorted(head.weights.items())}
    return {
        "bias": round(head.bias, 4),
        "weights": {name: weight for name, weight in weights.items() if weight},
    }


def main() -> None:
    """Trains on everything; the figures of the report come from models that leave sources out."""
    tiers, outcomes = load()
    text = serialise(fit(tiers, outcomes))
    WEIGHTS.write_text(text, encoding="utf-8")
    sys.stdout.write(write(parse_model(text), tiers, outcomes))


if __name__ == "__main__":
    main()
