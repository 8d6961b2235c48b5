"""`autotune retrain`, `predictors` and `explain`: what was learned."""

from __future__ import annotations

from typing import Annotated

import typer

from autotune.terminal.commands.options import ZOO_OR_FILE, Dims, Json, Seed, Shapes, print_json


def retrain(
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the version that was in use before.")
    ] = False,
    version: Annotated[str, typer.Option("--to", metavar="VERSION", help="Go back to this version.")] = "",
    learner: Annotated[
        str,
        typer.Option(
            "--learner", metavar="NAME", help="boosted, hist_boosted, forest_per_family, flops_linear, adapted."
        ),
    ] = "",
    tune: Annotated[bool, typer.Option("--tune", help="Choose the learner's settings first (minutes).")] = False,
    trials: Annotated[int, typer.Option("--trials", metavar="NUMBER", min=2, help="Settings that --tune tries.")] = 12,
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="An imported public table instead; with --device.")
    ] = "",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="Which device of --dataset.")] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train the predictor on all records of this device; use it if it beats the one in use.

    While a lane has few records, those of other devices (`autotune datasets import`) help where that is better.
    """
    from autotune import api
    from autotune.core.codec import encode
    from autotune.errors import UsageError
    from autotune.terminal.predictors import print_retrain
    from autotune.terminal.progress import show_progress

    if bool(dataset) != bool(device):
        raise UsageError("--dataset and --device belong together: `autotune datasets show NAME` lists the devices.")
    published = (dataset, device) if dataset else None
    if rollback or version:
        if learner or tune:
            raise UsageError("--rollback and --to train nothing: leave out --learner and --tune.")
        _roll_back(version, published, as_json=as_json)
        return
    with show_progress() as observer:
        result = api.retrain(
            learner=learner, tune=trials if tune else 0, published=published, seed=seed, observer=observer
        )
    print_json({"schema_version": 1} | encode(result)) if as_json else print_retrain(result)


def _roll_back(version: str, published: tuple[str, str] | None, *, as_json: bool) -> None:
    from autotune.api.predictor_versions import roll_back
    from autotune.api.published import published_device
    from autotune.datasets import home
    from autotune.processors import this_device

    device = published_device(home(), *published) if published else this_device()
    used = roll_back(home(), device.id, version)
    print_json({"schema_version": 1, "version": used}) if as_json else typer.echo(f"{used} is in use.")


def predictors(as_json: Json = False) -> None:
    """List the versions of predictors: device, records, hash of the data, accuracy, which is in use."""
    from autotune.api.predictor_versions import predictor_versions
    from autotune.core.codec import encode
    from autotune.datasets import home
    from autotune.terminal.predictors import print_versions

    found = predictor_versions(home())
    print_json({"schema_version": 1, "predictors": encode(found)}) if as_json else print_versions(found)


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{ZOO_OR_FILE}, or the folder of a plan.")],
    lane: Annotated[
        str, typer.Option("--lane", metavar="LANE", help="For instance cpu/f32/t2; a plan says its own.")
    ] = "",
    top: Annotated[
        int,
        typer.Option("--top", metavar="NUMBER", min=0, help="How many of the most expensive kernels are explained."),
    ] = 5,
    shape: Shapes = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Predict every kernel of a model on a lane, or of a plan's stages on theirs, and say why."""
    from pathlib import Path

    from autotune import api
    from autotune.api.explaining import explain as explain_model
    from autotune.api.explaining import explain_plan
    from autotune.core.codec import encode
    from autotune.errors import UsageError
    from autotune.terminal.flags import parse_dims, parse_shapes
    from autotune.terminal.paste import dimensions_to_paste
    from autotune.terminal.predictors import print_explanation, print_plan_explanation

    if not lane:
        if not Path(model).is_dir():
            raise UsageError("--lane is missing: only a plan says its own. For instance: --lane cpu/f32/t2")
        if shape or dim:
            raise UsageError(f"the plan {model} has shapes of its own: leave --shape and --dim out")
        plan = explain_plan(model, top=top)
        print_json({"schema_version": 1} | encode(plan)) if as_json else print_plan_explanation(plan)
        return
    settings = api.SearchSettings(shapes=parse_shapes(shape), dims=parse_dims(dim))
    with dimensions_to_paste([model]):
        found = explain_model(model, lane, settings, top=top)
    print_json({"schema_version": 1} | encode(found)) if as_json else print_explanation(found)
