"""Runs an Olive workflow and writes the session options that it chose; for Olive's own environment (see `peers.py`).

python benchmarks/olive_tuning.py WORKFLOW.json CHOSEN.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from olive.workflows import run  # type: ignore[import-not-found]  # of the environment that runs this

    workflow, chosen = map(Path, sys.argv[1:])
    found = run(json.loads(workflow.read_text()))
    best = found.get_best_candidate()
    if best is None:
        raise SystemExit("Olive gave no model")
    chosen.write_text(json.dumps(best.get_inference_config(), default=str))


if __name__ == "__main__":
    main()
