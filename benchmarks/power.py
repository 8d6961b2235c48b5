"""How often the rule that decides a search calls a partition faster, by its true gain: invented launches, no device.

Launches of every job differ by a normal spread, as measured ones do. Six launches decide, ten where a gain stays open.
Beside it stands the rule of one half that chooses and the other that reports.

    python benchmarks/power.py [--searches 2000] [--spread 0.03]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from common import write

from autotune.api.deciding import LAUNCHES, MORE_LAUNCHES, OPEN_GAIN
from autotune.core import Measurement
from autotune.planning import decide_winner, interval
from autotune.planning.decision import Decision

GAINS = (1.0, 1.03, 1.06, 1.14)
SINGLES, PARTITIONS = 3, 3


def logs_of(gain: float, spread: float, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """Logarithms of launch times by job; partitions are faster by the gain."""
    names = ["default", *(f"single:{at}" for at in range(1, SINGLES)), *(f"plan:{at}" for at in range(PARTITIONS))]
    return {
        name: rng.normal(-np.log(gain) if name.startswith("plan:") else 0.0, spread, MORE_LAUNCHES) for name in names
    }


def decided(logs: dict[str, np.ndarray[Any, Any]], launches: int) -> Decision:
    times = {
        name: [Measurement(samples_us=(float(100 * np.exp(log)),)) for log in own[:launches]]
        for name, own in logs.items()
    }
    names = list(logs)
    return decide_winner(times, ranks=[names[:1], names[1:SINGLES], names[SINGLES:]], against=[])


def one_way(logs: dict[str, np.ndarray[Any, Any]], launches: int) -> tuple[float, bool]:
    """The gain by the odd launches of what the even ones choose, and whether it is above 1."""
    names = list(logs)
    single, plan = (
        min(own, key=lambda name: logs[name][:launches:2].mean()) for own in (names[:SINGLES], names[SINGLES:])
    )
    ratio = interval((logs[single] - logs[plan])[1:launches:2].tolist())
    return (ratio.ratio, ratio.low > 1.0) if ratio is not None else (1.0, False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--spread", type=float, default=0.03, help="of the logarithm of a job's launches")
    flags = parser.parse_args()
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for gain in GAINS:
        told = {"six": 0, "ten where open": 0, "six, one half": 0, "ten where open, one half": 0}
        for _ in range(flags.searches):
            logs = logs_of(gain, flags.spread, rng)
            decision = decided(logs, LAUNCHES)
            won = decision.winner.startswith("plan:")
            told["six"] += won
            challenger = decision.challenger_gain
            if not won and challenger is not None and challenger.ratio >= OPEN_GAIN:
                won = decided(logs, MORE_LAUNCHES).winner.startswith("plan:")
            told["ten where open"] += won
            ratio, one = one_way(logs, LAUNCHES)
            told["six, one half"] += one
            told["ten where open, one half"] += one or (ratio >= OPEN_GAIN and one_way(logs, MORE_LAUNCHES)[1])
        rows.append({"gain": gain, **{name: count / flags.searches for name, count in told.items()}})
        print(rows[-1], flush=True)
    print(write("power", rows, spread=flags.spread, singles=SINGLES, partitions=PARTITIONS))


if __name__ == "__main__":
    main()
