"""Synthetic kernels: what no model in hand has, but real models do, so that models not seen before are covered."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice

from autotune.core import Kernel
from autotune.datasets.around import MAX_BYTES, around, measurable
from autotune.datasets.drawn import Drawn, drawn_graph
from autotune.graph import grouped

_USUAL = (
    "convolution", "depthwise", "matmul", "convolution", "data_movement", "elementwise", "matmul", "convolution",
    "grouped", "normalisation", "convolution", "data_movement", "pooling", "attention", "convolution", "depthwise",
    "matmul", "data_movement", "convolution", "recurrent", "elementwise", "pooling", "transposed", "convolution",
    "data_movement", "dilated", "convolution",
)  # fmt: skip
TURNS = (*_USUAL, "streaming", *_USUAL, "streaming", *_USUAL, "large")
"""Kinds in the order in which they are given: those that models spend their time in come more often, those that take
seconds to measure hardly."""
LARGE_BYTES = 32 * 2**20
"""What no cache holds: a matrix product with so many bytes of weights is of the kind `large`, what only moves or passes
over so many bytes is `streaming`."""
MOST_BYTES = {"large": 192 * 2**20, "streaming": 192 * 2**20}
"""What a kernel of the kind may read and write, where it is more than elsewhere (`MAX_BYTES`)."""
_STREAMS = frozenset(("data_movement", "elementwise", "normalisation", "pooling"))
FROM_NETWORKS = 3
"""Kernels of published networks for each one around the models in hand: with as many records they teach more of a model
left out (`benchmarks/synthetic.py`)."""
WAITING = 256
"""Kernels of a kind that are kept until its turn; what is drawn beyond is forgotten."""
CHOICE = 24
"""Kernels of a kind to choose from, so that what is made of the same operators comes as often as it should: by the root
of how often networks have it. As often as they do, rare ones would hardly come; all alike, there would be two
convolutions with a Relu among a hundred and fifty."""
PATIENCE = 200
"""Graphs drawn for one turn at most; a kind of which none is waiting then is given up."""


def synthetic_kernels(models: Mapping[str, Sequence[Kernel]], *, count: int, seed: int) -> list[Drawn]:
    """Three from graphs of published networks at other sizes, then one around given kernels, and so on.

    Args:
        models: name -> kernels of the models in hand; without any (or where none can be changed) all are from
            published networks.
        count: how many.
        seed: the same models and seed give the same list; a short one is the beginning of a longer one.

    Returns:
        distinct kernels that can be measured, none equal to one given; fewer than `count` only where neither source
        has more.
    """
    parents = {kernel.signature: kernel for own in models.values() for kernel in own}
    origins: dict[str, list[str]] = {signature: [] for signature in parents}
    for name, own in models.items():
        for signature in {kernel.signature for kernel in own}:
            origins[signature].append(name)
    seen = set(parents)
    near = (
        Drawn(kernel=child, origins=tuple(origins[parent.signature]))
        for child, parent in around(list(parents.values()), seed=seed, seen=seen)
    )
    return list(islice(_in_turns([drawn_kernels(seed=seed, seen=seen)] * FROM_NETWORKS + [near]), count))


def _in_turns(turns: list[Iterator[Drawn]]) -> Iterator[Drawn]:
    while turns:
        for source in list(turns):
            one = next(source, None)
            if one is None:
                turns = [other for other in turns if other is not source]
            else:
                yield one


def drawn_kernels(*, seed: int, seen: set[str]) -> Iterator[Drawn]:
    """Kernels of graphs drawn one after the other, kinds in turns (`TURNS`).

    Args:
        seed: of the graphs.
        seen: signatures that are not given again; those given are added.
    """
    rng = random.Random(seed)
    waiting: dict[str, list[Drawn]] = {kind: [] for kind in TURNS}
    met, given = ({kind: Counter[str]() for kind in TURNS} for _ in range(2))
    exhausted: set[str] = set()
    for kind in cycle(TURNS):
        if len(exhausted) == len(waiting):
            return
        tries = 0
        while len(waiting[kind]) < CHOICE and tries < PATIENCE and kind not in exhausted:
            model = drawn_graph(rng.getrandbits(48))
            for kernel in grouped(model).kernels:
                found = kind_of(kernel)
                if found not in waiting or not measurable(kernel, most=MOST_BYTES.get(found, MAX_BYTES)):
                    continue
                met[found][kernel.ops] += 1
                if len(waiting[found]) < WAITING and kernel.signature not in seen:
                    seen.add(kernel.signature)
                    waiting[found].append(Drawn(kernel=kernel, origins=(model.graph.name,)))
            tries += 1
        if not waiting[kind]:
            exhausted.add(kind)
            continue
        chosen = min(waiting[kind], key=partial(_share, given=given[kind], met=met[kind]))
        waiting[kind].remove(chosen)
        given[kind][chosen.kernel.ops] += 1
        yield chosen


def _share(one: Drawn, *, given: Counter[str], met: Counter[str]) -> float:
    """How often its operators were given, the next one included by half, over how often they should have been."""
    return (given[one.kernel.ops] + 0.5) / math.sqrt(met[one.kernel.ops])


def kind_of(kernel: Kernel) -> str:
    """The family, or what a kernel of a special kind is called in `TURNS`."""
    first = kernel.nodes[0]
    if kernel.family == "matmul" and kernel.weight_bytes >= LARGE_BYTES:
        return "large"
    if kernel.family in _STREAMS and kernel.bytes_read + kernel.bytes_written >= LARGE_BYTES:
        return "streaming"
    if kernel.family != "convolution" or "Conv" not in first.op_type:
        return kernel.family
    attributes = dict(first.attributes)
    if first.op_type == "ConvTranspose":
        return "transposed"
    if attributes.get("group", 1) != 1:
        return "grouped"
    dilations = attributes.get("dilations", (1,))
    return "dilated" if isinstance(dilations, tuple) and set(dilations) != {1} else kernel.family
