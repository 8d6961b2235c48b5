"""How a generator reaches a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from autotune.errors import UsageError
from autotune.profiler.load.values import Issue
from autotune.runtime import LoadedPlan


def issue_to(plan: LoadedPlan, samples: Sequence[Mapping[str, Any]]) -> Issue:
    """Starts inferences of a plan through `submit`.

    Args:
        plan: what runs.
        samples: inputs, taken in turn.

    Raises:
        UsageError: there is no sample.
    """
    if not samples:
        raise UsageError("load needs at least one sample of inputs")

    def issue(number: int) -> Future[list[Any]]:
        return plan.submit(None, samples[number % len(samples)])

    return issue
