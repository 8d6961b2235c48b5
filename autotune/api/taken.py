"""Whether a plan's stages run where the plan says: a provider leaves operators that it lacks to the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.api.run import Run
from autotune.core import Failure
from autotune.planning import WrittenStage
from autotune.processors import assignment

DEADLINE_S = 60.0


def left_to_others(run: Run, written: Sequence[WrittenStage]) -> list[str]:
    """A warning for each stage of which its provider does not take every operator; asked from ONNX Runtime.

    Args:
        run: whose worker asks.
        written: the plan's stages.
    """
    found = []
    for stage in written:
        lane = stage.choice.lane
        if lane.processor == "cpu":
            continue
        shares = run.worker.call(assignment, str(stage.path), lane, deadline_s=DEADLINE_S)
        if isinstance(shares, Failure):
            continue
        own = run.place.processor(lane.processor).provider
        others = ", ".join(f"{share.operators} on {share.provider}" for share in shares if share.provider != own)
        if others:
            found.append(
                f"of {sum(share.operators for share in shares)} operators in kernels "
                f"{stage.choice.start}–{stage.choice.stop}, {others}: {lane.processor} does not take them, "
                "and what was measured includes that."
            )
    return found
