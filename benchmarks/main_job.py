"""The main job as a user starts it: seconds from nothing to a plan, and with the profile there; memory; `--help`.

Each search is a process of its own with a fresh home folder. Memory is the largest sum of the resident memory of the
process and all its children, pages that they share counted more than once.

    python benchmarks/main_job.py [--models yolo] [--scenarios SingleStream] [--repeats 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from common import write

COMMAND = (str(Path(sys.executable).with_name("autotune")),)
SAMPLE_S = 0.25
HELP_RUNS = 20


def resident_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and its children; those that are gone count nothing."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.Error:
            continue
    return total


def timed_search(model: str, scenario: str, home: Path) -> dict[str, Any]:
    """One search; its seconds, memory, and what it found."""
    command = [*COMMAND, "search", "--model", model, "--scenario", scenario, "--json"]
    begin = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as printed,
        subprocess.Popen(
            command, env=os.environ | {"AUTOTUNE_HOME": str(home)}, stdout=printed, stderr=subprocess.DEVNULL
        ) as process,
    ):
        watched, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                peak = max(peak, resident_bytes(watched))
            except psutil.NoSuchProcess:
                break
            time.sleep(SAMPLE_S)
        process.wait()
        wall_s = time.monotonic() - begin
        printed.seek(0)
        found = json.loads(printed.read())
    return {
        "model": model,
        "scenario": scenario,
        "wall_s": wall_s,
        "peak_bytes": peak,
        "verdict": found["verdict"],
        "speedup": found["speedup"],
        "tuned": found["tuned"]["measured"],
        "cost": found["cost"],
        "reused": found["reused"],
    }


def help_s() -> list[float]:
    """Seconds of `autotune --help`."""
    found = []
    for _ in range(HELP_RUNS):
        begin = time.monotonic()
        subprocess.run([*COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
        found.append(time.monotonic() - begin)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="yolo")
    parser.add_argument("--scenarios", default="SingleStream")
    parser.add_argument("--repeats", type=int, default=2)
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for model in flags.models.split(","):
        for scenario in flags.scenarios.split(","):
            for _ in range(flags.repeats):
                with tempfile.TemporaryDirectory() as home:
                    for start in ("from nothing", "profile there"):
                        row = {"start": start} | timed_search(model, scenario, Path(home))
                        rows.append(row)
                        print(f"{model:12} {scenario:12} {start:13} {row['wall_s']:6.1f} s", end="  ")
                        print(f"{row['peak_bytes'] / 2**20:6.0f} MiB  {row['verdict']['winner']}", flush=True)
    helped = help_s()
    summary: dict[str, Any] = {
        start: {
            "most_s": max(row["wall_s"] for row in rows if row["start"] == start),
            "most_mib": max(row["peak_bytes"] for row in rows if row["start"] == start) / 2**20,
        }
        for start in ("from nothing", "profile there")
    }
    summary["help_s"] = {"median": statistics.median(helped), "most": max(helped)}
    print(summary)
    print(write("main_job", rows, **summary))


if __name__ == "__main__":
    main()
