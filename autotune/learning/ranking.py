"""In which order a search measures what it does not know of a model: what a second is worth most comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.core import Kernel, Lane, ProfileRecord
from autotune.learning.belief import Belief, believe
from autotune.learning.queue import Queue
from autotune.profiler import expected_seconds


def ranked(
    missing: Mapping[Lane, Sequence[Kernel]],
    uses: Mapping[str, int],
    known: Sequence[ProfileRecord],
    *,
    cores: int,
    seed: int = 0,
) -> dict[Lane, list[Kernel]]:
    """Each lane's unknown kernels, by committee disagreement × share of the model's time per expected second.

    The committee learns once, from the records there are; what it agrees on comes last. A lane with too few records
    for agreement to mean anything takes the largest first.

    Args:
        missing: what is not known, by lane.
        uses: how often the model runs each kernel, by signature.
        known: records of this device.
        cores: of the device.
        seed: of the committee.
    """
    belief = believe(known, Belief(cores=cores), seed=seed)
    signatures = {id(kernel): kernel.signature for kernels in missing.values() for kernel in kernels}
    unknown = {(signatures[id(kernel)], lane) for lane, kernels in missing.items() for kernel in kernels}
    kernels = {signatures[id(kernel)]: kernel for group in missing.values() for kernel in group}
    queue = Queue(
        kernels,
        list(missing),
        settled={(signature, lane) for signature in kernels for lane in missing} - unknown,
        uses=[uses],
        seconds=expected_seconds,
    )
    queue.rank(belief)
    found: dict[Lane, list[Kernel]] = {}
    for lane, group in missing.items():
        largest = sorted(group, key=lambda kernel: -kernel.flops)
        asked = [q.kernel for q in queue.questions if q.lane == lane] if belief.settled(lane) is not None else []
        listed = {id(kernel) for kernel in asked}
        found[lane] = [*asked, *(kernel for kernel in largest if id(kernel) not in listed)]
    return found
