"""Predictors on latencies that others measured: published and computed baseline, what is reached, target, per task.

python benchmarks/latency_data.py --data FOLDER [--json] [--tasks NAME,...] [--write]

FOLDER holds the tables of docs/public_data.md; tasks whose tables are missing are skipped. One JSON object on stdout
with --json (`failed`: tasks that failed, and their errors; the exit code is then 1), else a table; progress on stderr.
--write puts the rows of the tasks that ran into results/latency_data.json and keeps those of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import latency_hope
import latency_nb201
import latency_usc
from common import RESULTS, write
from latency_task import Outcome, say, with_published

TASKS: dict[str, tuple[tuple[str, ...], Callable[[Path], Iterator[Outcome]]]] = {
    "usc_operators": ((latency_usc.OPERATORS,), latency_usc.operators),
    "usc_models": ((latency_usc.OPERATORS, latency_usc.MODELS), latency_usc.models),
    "usc_new_gpu": ((latency_usc.OPERATORS,), latency_usc.new_gpu),
    "hope_operators": ((latency_hope.OPERATORS,), latency_hope.operators),
    "nb201": ((latency_nb201.NB201.table,), latency_nb201.nb201),
    "fbnet": ((latency_nb201.FBNET.table,), latency_nb201.fbnet),
}
"""Name -> the tables it needs, and what yields its rows."""


def run(folder: Path, wanted: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Rows of every task whose tables are there, and those that failed: the others go on."""
    rows, failed = [], []
    for name in wanted:
        tables, task = TASKS[name]
        missing = [table for table in tables if not (folder / table).is_file()]
        if missing:
            say(f"{name}: skipped, {folder} lacks {', '.join(missing)}")
            continue
        say(name)
        started = time.perf_counter()
        try:
            outcomes = list(task(folder))
        except Exception as error:  # noqa: BLE001 - one task's tables may be damaged, the others are still wanted
            say(f"{name}: failed\n{traceback.format_exc()}")
            failed.append({"part": name, "error": f"{type(error).__name__}: {error}"})
            continue
        said = {
            "part": name,
            "seconds": round(time.perf_counter() - started, 1),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        rows += [outcome.row() | said for outcome in outcomes]
    return rows, failed


def merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, and those of tasks that did not run from the file that is there."""
    path, ran = RESULTS / "latency_data.json", {row["part"] for row in rows}
    older = json.loads(path.read_text())["results"] if path.is_file() else []
    kept = [with_published(row) for row in older if row.get("part") in TASKS and row["part"] not in ran]
    order = list(TASKS)
    return sorted(kept + rows, key=lambda row: order.index(row["part"]))


def line(row: dict[str, Any]) -> str:
    """A row for people."""

    def cell(values: dict[str, float]) -> str:
        return " / ".join(f"{value:.4g}" for value in values.values()) or "–"

    met = all(
        row["reached"][name] <= aim if name in ("mape", "over_oracle") else row["reached"][name] >= aim
        for name, aim in row["target"].items()
    )
    verdict = ("yes" if met else "no") if row["target"] else "–"
    metric = " / ".join(row["reached"])
    cells = (row["task"], metric, *(cell(row[name]) for name in ("published", "baseline", "reached", "target")))
    return "| " + " | ".join((*cells, verdict, str(row["n"]), str(row["folds"]))) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated: " + ", ".join(TASKS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    flags = parser.parse_args()
    wanted = [name for name in flags.tasks.split(",") if name]
    unknown = [name for name in wanted if name not in TASKS]
    if unknown or not wanted:
        parser.error(f"unknown task {', '.join(unknown)}; known: {', '.join(TASKS)}")
    if not flags.data.is_dir():
        say(f"{flags.data} is no folder: name one that holds the tables of docs/public_data.md")
        return 1
    rows, failed = run(flags.data, wanted)
    if not rows and not failed:
        say(f"no task ran: {flags.data} holds none of the tables, or too little in them (above)")
        return 1
    if flags.json:
        print(json.dumps({"schema_version": 1, "tasks": rows, "failed": failed}, indent=1))
    elif rows:
        print(
            "| task | metric | published | baseline | reached | target | met | n | left out in turn |\n|" + "---|" * 9
        )
        print("\n".join(line(row) for row in rows))
    if flags.write and rows:
        say(str(write("latency_data", merged(rows))))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
