"""What a busy neighbour does to small kernels: the same few, measured in one short process after the other.

    python benchmarks/bursts.py [--lane openvino:cpu/f32/t2] [--processes 20]

Every process measures as a profile does; its times are those that it would file.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from common import write

from autotune.core import Lane, Measurement, ProfileRecord, Protocol
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import identity, profile_kernels
from autotune.profiler.probes import reference_kernel

KERNELS = {
    f"{channels}x{size}x{size}": reference_kernel(channels, size)
    for channels, size in ((16, 16), (32, 28), (64, 14), (64, 80))
}
SECONDS = 30.0


def main() -> None:
    device, found = this_device(), discover()
    last = lanes_of(found.processors[-1], cores=device.cores)[0]
    parser = argparse.ArgumentParser()
    parser.add_argument("--lane", default=str(last))
    parser.add_argument("--processes", type=int, default=20)
    flags = parser.parse_args()
    lane = Lane.parse(flags.lane)
    processor = next(one for one in found.processors if one.name == lane.processor)
    tag = identity(device, processor, found, Protocol.MARGINAL)
    names = {kernel.signature: name for name, kernel in KERNELS.items()}
    rows: list[dict[str, Any]] = []
    for number in range(flags.processes):
        row: dict[str, Any] = {"process": number}

        def keep(record: ProfileRecord, row: dict[str, Any] = row) -> None:
            if isinstance(record.result, Measurement):
                row[names[record.kernel.signature]] = record.result.median_us
                row |= {"sentinel_us": record.notes.sentinel_us, "sentinel_ratio": record.notes.sentinel_ratio}

        profile_kernels(list(KERNELS.values()), lane, identity=tag, seed=number, deadline_s=SECONDS, on_record=keep)
        rows.append(row)
        print("  ".join(f"{name} {value:.1f}" for name, value in row.items() if name != "process"), flush=True)
    spread = {
        name: float(np.max(us) / np.min(us)) for name in KERNELS if (us := [row[name] for row in rows if name in row])
    }
    print(write("bursts", rows, lane=str(lane), slowest_over_fastest=spread))


if __name__ == "__main__":
    main()
