"""Zoo × scenarios × tolerances: what the search gains, and whether its predictions hold.

python benchmarks/search_quality.py [--models yolo] [--scenarios Offline] [--tolerances 1e-3] [--budget 2min]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from common import geometric_mean, offered, read, write

from autotune import models
from autotune.api import SearchResult, SearchSettings, parse_duration, search
from autotune.core import Scenario
from autotune.processors import this_device

TOLERANCES = "1e-3,3e-3,1e-2"


def one(model: str, scenario: Scenario, tolerance: float, *, budget_s: float | None, home: Path) -> dict[str, Any]:
    begin = time.monotonic()
    settings = SearchSettings(scenario=scenario, tolerance=tolerance, budget_s=budget_s, home=home, track=False)
    return row_of(search(model, settings), model, wall_s=time.monotonic() - begin)


def row_of(result: SearchResult, model: str, *, wall_s: float) -> dict[str, Any]:
    """What a results file keeps of a search."""
    found, device = result.to_json(), this_device()
    return {
        "model": model,
        "scenario": found["scenario"],
        "tolerance": found["tolerance"],
        "verdict": found["verdict"],
        "over_default": found["speedup"]["over_default"],
        "over_best_single": found["speedup"]["over_best_single"],
        "best_single": found["best_single_processor"],
        "tuned": found["tuned"],
        "source": found["tuned"]["source"],
        "parallel": found["parallel"],
        "baselines": found["baselines"],
        "verified": found["verified"],
        "cost": found["cost"],
        "reused": found["reused"],
        "wall_s": wall_s,
        "device": {"name": device.name, "features": list(device.features)},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def prediction_quality(rows: list[dict[str, Any]], *, partitions: bool) -> dict[str, Any]:
    """Frozen predictions against measured times: of plans of several stages, or of whole-model lanes from kernels."""
    from scipy import stats

    pairs = [
        (v["predicted"], v["measured"])
        for row in rows
        for v in row["verified"]
        if v["measured"] and (v["stages"] > 1) == partitions
    ]
    if len(pairs) < 3:
        return {"count": len(pairs)}
    errors = [abs(predicted / measured - 1) for predicted, measured in pairs]
    return {
        "count": len(pairs),
        "median_error": float(np.median(errors)),
        "p90_error": float(np.percentile(errors, 90)),
        "spearman": float(stats.spearmanr(*zip(*pairs, strict=True)).statistic),
    }


def _sources(rows: list[dict[str, Any]]) -> list[str]:
    """Where the plans' speed comes from."""
    return sorted({row["source"] for row in rows})


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "verified_plans": prediction_quality(rows, partitions=True),
        "lanes_from_kernels": prediction_quality(rows, partitions=False),
    }
    for scenario in {row["scenario"] for row in rows}:
        for tolerance in sorted({row["tolerance"] for row in rows}):
            chosen = [row for row in rows if (row["scenario"], row["tolerance"]) == (scenario, tolerance)]
            if not chosen:
                continue
            default = [row["over_default"]["ratio"] for row in chosen if row["over_default"]]
            single = [row["over_best_single"]["ratio"] for row in chosen if row["over_best_single"]]
            partitions = [row["over_best_single"]["ratio"] for row in chosen if row["verdict"]["kind"] == "partition"]
            summary[f"{scenario} {tolerance:g}"] = {
                "over_default": geometric_mean(default),
                "over_best_single": geometric_mean(single),
                "over_best_single_least": min(single) if single else None,
                "partitions": len(partitions),
                "partition_gain": geometric_mean(partitions),
                "sources": {source: sum(row["source"] == source for row in chosen) for source in _sources(chosen)},
                "parallel_measured_most": max(row["parallel"]["tried"] for row in chosen),
                "seconds": float(np.median([row["wall_s"] for row in chosen])),
            }
    return summary


def earlier(flags: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the results file, but for those that are measured now."""
    asked = [set(values.split(",")) for values in (flags.models, flags.scenarios, flags.tolerances)]
    tolerances = {float(tolerance) for tolerance in asked[2]}
    return [
        row
        for row in read(flags.name)
        if not (row["model"] in asked[0] and row["scenario"] in asked[1] and row["tolerance"] in tolerances)
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=",".join(models.names()))
    parser.add_argument("--scenarios", default="SingleStream,Offline")
    parser.add_argument("--tolerances", default=TOLERANCES)
    parser.add_argument("--budget", default="", help="of each search; without it what the search itself takes")
    parser.add_argument("--home", default="")
    parser.add_argument("--name", default="search_quality")
    parser.add_argument("--keep", action="store_true", help="rows of the results file that are not measured again")
    flags = parser.parse_args()
    rows = earlier(flags) if flags.keep else []
    scenarios = offered(flags.scenarios)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(flags.home or folder)
        for model in flags.models.split(","):
            for scenario in scenarios:
                for tolerance in flags.tolerances.split(","):
                    row = one(
                        model,
                        scenario,
                        float(tolerance),
                        budget_s=parse_duration(flags.budget) if flags.budget else None,
                        home=home,
                    )
                    rows.append(row)
                    print(
                        f"{model:14} {scenario:12} {tolerance:>6} {row['verdict']['kind']:16}",
                        f"default {row['over_default'] and round(row['over_default']['ratio'], 2)}",
                        f"single {row['over_best_single'] and round(row['over_best_single']['ratio'], 3)}",
                        f"{row['wall_s']:.0f} s",
                        flush=True,
                    )
                    write(flags.name, rows, **summarise(rows))


if __name__ == "__main__":
    main()
