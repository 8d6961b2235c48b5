"""`autotune processors` and `autotune profile`: what is here, and how fast its kernels are."""

from __future__ import annotations

from typing import Annotated

import typer

from autotune.terminal.commands.options import ZOO_OR_FILE, Dims, Json, Processors, Seed, Shapes, print_json


def processors(as_json: Json = False) -> None:
    """Show the processors that ONNX Runtime can reach here."""
    from autotune.api.workplace import open_workplace
    from autotune.core.codec import encode
    from autotune.terminal.listing import print_processors

    with open_workplace(None) as place:
        if as_json:
            found = {"runtime": place.discovery.runtime, "device": encode(place.device)}
            found |= {"processors": encode(place.discovery.processors), "broken": encode(place.discovery.broken)}
            print_json({"schema_version": 1} | found)
        else:
            print_processors(place)


def profile(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help=f"{ZOO_OR_FILE}; repeatable.  [default: none, synthetic kernels for a predictor of this device]",
        ),
    ] = [],  # noqa: B006
    shape: Shapes = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    processors: Processors = "",
    lane: Annotated[
        list[str], typer.Option("--lane", metavar="LANE", help="Such as cpu/f32/t2; repeatable.  [default: all]")
    ] = [],  # noqa: B006
    synthetic: Annotated[
        int,
        typer.Option(
            "--synthetic",
            metavar="NUMBER",
            min=0,
            help="Further kernels: most as published networks have them, some around those.  "
            "[default: 300 without a model]",
        ),
    ] = 0,
    contention: Annotated[
        bool, typer.Option("--contention", help="Instead: how lanes slow each other down when they run together.")
    ] = False,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="60s, 5min: measure what the predictors disagree on, until they agree or the time is up.  "
            "[default: 2min, every lane an equal share]",
        ),
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure kernels of models, or synthetic ones, on the lanes of this device; known ones are not measured again.

    With several models --shape and --dim say which one they mean: --shape yolo:images=1,3,320,320.
    """
    from autotune import api
    from autotune.core.codec import encode
    from autotune.errors import UsageError
    from autotune.terminal.flags import parse_dims, parse_names, parse_shapes
    from autotune.terminal.joint_flags import participants
    from autotune.terminal.listing import print_contention, print_profile
    from autotune.terminal.paste import dimensions_to_paste
    from autotune.terminal.progress import show_progress

    several = len(model) > 1
    models = participants(model, weights=[], shapes=shape, dims=dim, inputs=[]) if several else model
    settings = api.SearchSettings(
        shapes={} if several else parse_shapes(shape),
        dims={} if several else parse_dims(dim),
        processors=parse_names(processors),
        budget_s=api.parse_duration(budget) if budget else None,
        seed=seed,
    )
    if contention:
        if not model:
            raise UsageError("--contention runs the kernels of models together: name one with --model")
        if synthetic:
            raise UsageError("--contention runs the models' own kernels together: leave --synthetic out")
        with dimensions_to_paste(model), show_progress() as observer:
            found = api.profile_contention(models, settings, lanes=lane, observer=observer)
        print_json({"schema_version": 1} | encode(found)) if as_json else print_contention(found)
        return
    with dimensions_to_paste(model), show_progress() as observer:
        result = api.profile(models, settings, synthetic=synthetic, lanes=lane, observer=observer)
    print_json({"schema_version": 1} | encode(result)) if as_json else print_profile(result)
