"""What `search`, `run` and `bench` do for several models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.terminal.commands.options import print_json

if TYPE_CHECKING:
    from autotune.api import SearchSettings
    from autotune.api.together_settings import Participant


def search_several(models: Sequence[Participant], settings: SearchSettings, *, fairness: str, as_json: bool) -> None:
    """Finds a joint plan and prints it."""
    from autotune.api.together import search_together
    from autotune.terminal.joint_flags import parse_fairness
    from autotune.terminal.joint_report import print_together
    from autotune.terminal.progress import show_progress

    judged_by = parse_fairness(fairness)
    with show_progress() as observer:
        result = search_together(models, settings, fairness=judged_by, observer=observer)
    print_json(result.to_json()) if as_json else print_together(result)


def run_several(plan: Path, inputs: Sequence[str], *, output: str, fallback: bool, as_json: bool) -> None:
    """Runs models of a joint plan on `MODEL:PATH`."""
    from autotune.api.together_plans import run_plans
    from autotune.runtime import read_joint
    from autotune.terminal.joint_flags import inputs_by_model
    from autotune.terminal.joint_report import outputs_together
    from autotune.terminal.listing import outputs_json, print_outputs, save_outputs

    given = inputs_by_model(inputs, read_joint(plan).names)
    samples = outputs_together(run_plans(plan, given, fallback=fallback))
    if output:
        save_outputs(samples, Path(output))
    print_json(outputs_json(samples, output)) if as_json else print_outputs(samples, output)


def bench_several(plan: Path, inputs: Sequence[str], *, launches: int, as_json: bool) -> None:
    """Measures a joint plan again."""
    from autotune.api.together_bench import bench_plans
    from autotune.runtime import read_joint
    from autotune.terminal.joint_flags import inputs_by_model
    from autotune.terminal.joint_report import bench_json, print_bench_together
    from autotune.terminal.progress import show_progress

    given = inputs_by_model(inputs, read_joint(plan).names)
    with show_progress() as observer:
        result = bench_plans(plan, launches=launches, inputs=given, observer=observer)
    print_json(bench_json(result)) if as_json else print_bench_together(result)
