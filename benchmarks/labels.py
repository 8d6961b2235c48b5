"""Whether a kernel is filed with the same time by one process as by the next: the zoo's, some of each way of measuring.

    python benchmarks/labels.py [--lanes cpu/f32/t1,openvino:cpu/f32/t2] [--processes 5] [--kernels 12]

Processes of all lanes take turns, each measures as a profile does. Printed, by way of measuring (`probes.Form`): the
median, over its kernels, of the slowest over the fastest process's time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import write
from own_records import kernels_of, load_zoo

from autotune import models
from autotune.core import Kernel, Lane, Measurement, ProfileRecord, Protocol
from autotune.processors import discover, lanes_of, this_device
from autotune.profiler import identity, profile_kernels
from autotune.profiler.probes import form_of

SECONDS = 60.0


def some_of_each(kernels: list[Kernel], count: int) -> dict[str, Kernel]:
    """By signature: of each way of measuring so many, evenly from the smallest to the largest."""
    by_form = defaultdict(list)
    for kernel in sorted(kernels, key=lambda one: (one.flops + one.bytes_read + one.bytes_written, one.signature)):
        by_form[form_of(kernel)].append(kernel)
    found = [own[len(own) * at // count] for own in by_form.values() for at in range(count)]
    return {kernel.signature: kernel for kernel in found}


def main() -> None:
    device, found = this_device(), discover()
    usual = [str(lanes_of(processor, cores=device.cores)[0]) for processor in found.processors]
    parser = argparse.ArgumentParser()
    parser.add_argument("--lanes", default=",".join(usual))
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--kernels", type=int, default=12)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        kernels = some_of_each(kernels_of(load_zoo(models.names(), Path(work))), flags.kernels)
    processors = {processor.name: processor for processor in found.processors}
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(flags.processes):
        for lane in map(Lane.parse, flags.lanes.split(",")):

            def keep(record: ProfileRecord) -> None:
                if isinstance(record.result, Measurement):
                    times[str(record.lane), record.kernel.signature].append(record.result.median_us)

            tag = identity(device, processors[lane.processor], found, Protocol.MARGINAL)
            profile_kernels(list(kernels.values()), lane, identity=tag, seed=number, deadline_s=SECONDS, on_record=keep)
    spread = defaultdict(list)
    for (lane_name, signature), us in times.items():
        spread[lane_name, str(form_of(kernels[signature]))].append(max(us) / min(us))
    rows: list[dict[str, Any]] = [
        {"lane": lane_name, "form": form, "kernels": len(own), "slowest_over_fastest": float(np.median(own))}
        for (lane_name, form), own in sorted(spread.items())
    ]
    for row in rows:
        print(f"{row['lane']:24} {row['form']:8} {row['kernels']:3} kernels  x{row['slowest_over_fastest']:.3f}")
    print(write("labels", rows, processes=flags.processes))


if __name__ == "__main__":
    main()
