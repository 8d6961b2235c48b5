"""The generators by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType

from autotune.errors import UnknownNameError
from autotune.profiler.load.mlperf import MlperfGenerator
from autotune.profiler.load.own import OwnGenerator
from autotune.profiler.load.values import LoadGenerator

_GENERATORS: Mapping[str, Callable[[], LoadGenerator]] = MappingProxyType(
    {"own": OwnGenerator, "loadgen": MlperfGenerator}
)


def generator_names() -> tuple[str, ...]:
    """Names that `generator` takes."""
    return tuple(_GENERATORS)


def generator(name: str) -> LoadGenerator:
    """The generator with that name.

    Raises:
        UnknownNameError: there is none.
        UsageError: it is not installed.
    """
    if name not in _GENERATORS:
        raise UnknownNameError("load generator", name, known=_GENERATORS)
    return _GENERATORS[name]()


def default_generator() -> LoadGenerator:
    """LoadGen where it is installed, else our own."""
    return generator("loadgen" if importlib.util.find_spec("mlperf_loadgen") else "own")
