"""How many plans of 20 stages are simulated per second with 100 requests each, in every scenario.

python benchmarks/simulator.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import write

from autotune.simulator import StagedPlan, multi_stream, offline, server, single_stream

PLANS, STAGES, REQUESTS, RUNS = 4000, 20, 100, 3
BOUND_US = 20_000.0
CORUN = {(0, 1): 1.3, (1, 0): 1.2}


def random_plans(*, branches: bool, corun: bool) -> list[StagedPlan]:
    """Stages of 50 to 500 µs on two lanes."""
    rng = np.random.default_rng(0)
    forked = tuple((max(0, stage - 1 - stage % 2),) if stage else () for stage in range(STAGES))
    return [
        StagedPlan(
            stage_us=tuple(rng.uniform(50, 500, STAGES).tolist()),
            lane=tuple(rng.integers(0, 2, STAGES).tolist()),
            streams=(1, 1),
            needs=forked if branches else None,
            corun=CORUN if corun else None,
        )
        for _ in range(PLANS)
    ]


def rate(run: Callable[[], Any]) -> dict[str, float]:
    """Plans per second, packing included: by the clock, and by processor time, which other load does not touch."""
    wall, cpu = [], []
    for _ in range(RUNS):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        run()
        wall.append(PLANS / (time.perf_counter() - begin))
        cpu.append(PLANS / (time.process_time() - begin_cpu))
    return {"plans_per_s": float(np.median(wall)), "plans_per_cpu_s": float(np.median(cpu))}


def main() -> None:
    results = {}
    for shape in ("chain", "branches"):
        for corun in (False, True):
            plans = random_plans(branches=shape == "branches", corun=corun)
            name = f"{shape}, {'slowdowns' if corun else 'no slowdowns'}"
            results[f"Offline, {name}"] = rate(lambda plans=plans: offline(plans, requests=REQUESTS))  # type: ignore[misc]
            results[f"SingleStream, {name}"] = rate(lambda plans=plans: single_stream(plans, requests=REQUESTS))  # type: ignore[misc]
    plans = random_plans(branches=False, corun=True)
    results["MultiStream, chain, slowdowns, 13 queries of 8"] = rate(lambda: multi_stream(plans, queries=13))
    results["Server, chain, slowdowns, 14 runs of 100"] = rate(lambda: server(plans, BOUND_US, requests=REQUESTS))
    for name, value in results.items():
        print(
            f"{name:48} {value['plans_per_s']:9,.0f} plans/s {value['plans_per_cpu_s']:9,.0f} per s of processor time"
        )
    slowest = min(v["plans_per_s"] for name, v in results.items() if not name.startswith("Server"))
    print(write("simulator", results, slowest_plans_per_s=slowest, stages=STAGES, requests=REQUESTS, plans=PLANS))


if __name__ == "__main__":
    main()
