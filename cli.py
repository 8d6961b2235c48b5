"""The command line: parse, call the api, render; nothing else (edit here; imports as autotune.cli)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from autotune import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds which processor should run which operators of an ONNX model here, and proves it by measuring.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
_ZOO_OR_FILE = "A name of the zoo (yolo, resnet50, …) or an ONNX file"
Model = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help=f"{_ZOO_OR_FILE}.")]
Shapes = Annotated[
    list[str], typer.Option("--shape", metavar="NAME=1,3,320,320", help="The full shape of an input; repeatable.")
]
Dims = Annotated[
    list[str], typer.Option("--dim", metavar="NAME=640", help="The value of a symbolic dimension; repeatable.")
]
Inputs = Annotated[
    list[str],
    typer.Option("--inputs", metavar="PATH", help="npz file or ONNX test_data_set folder, real inputs; repeatable."),
]
Processors = Annotated[
    str, typer.Option("--processors", metavar="NAMES", help="For instance cpu,openvino:cpu.  [default: all found here]")
]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Of everything random.")]
PlanFolder = Annotated[str, typer.Argument(metavar="PLAN", help="Folder of a plan.")]
Budget = Annotated[str, typer.Option("--budget", metavar="TIME", help="For everything: 90s, 2min.")]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str, allow_nan=False))


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Finds which processor should run which operators of an ONNX model here, and proves it by measuring."""


@app.command()
def search(
    model: Model,
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="NAME", help="SingleStream (latency) or Offline (throughput).")
    ] = "",
    hint: Annotated[
        str, typer.Option("--hint", metavar="NAME", help="latency or throughput: other names of the scenarios.")
    ] = "",
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="ERROR", help="Largest relative RMS error of an output.")
    ] = 1e-3,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="auto: below float32 where real inputs show that outputs bear it; any: on random ones too; float32.",
        ),
    ] = "auto",
    shape: Shapes = [],  # noqa: B006 - Typer copies defaults
    dim: Dims = [],  # noqa: B006
    inputs: Inputs = [],  # noqa: B006
    processors: Processors = "",
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="FILE", help="JSON with your own session options, to be beaten too.")
    ] = "",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="For everything: 90s, 2min.  [default: 2m30s]")
    ] = "",
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", metavar="NUMBER", help="Optuna trials per round.  [default: what a few seconds allow]"
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="For the plan.  [default: in the home folder]")
    ] = "",
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="recorded:FOLDER",
            help="Not this device, but one whose latencies were recorded elsewhere.",
        ),
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the fastest plan for a model on this device that keeps its outputs."""
    if device:
        _search_recorded(device, model, budget=budget, output=output, seed=seed, as_json=as_json)
        return
    from autotune import api
    from autotune.terminal.flags import search_settings
    from autotune.terminal.progress import show_progress
    from autotune.terminal.report import print_search

    settings = search_settings(
        scenario=scenario,
        hint=hint,
        tolerance=tolerance,
        precision=precision,
        shapes=shape,
        dims=dim,
        inputs=inputs,
        processors=processors,
        baseline=baseline,
        budget=budget,
        trials=trials,
        output=output,
        seed=seed,
    )
    with show_progress() as observer:
        result = api.search(model, settings, observer=observer)
    _print_json(result.to_json()) if as_json else print_search(result)


def _search_recorded(device: str, model: str, *, budget: str, output: str, seed: int, as_json: bool) -> None:
    from autotune.api.recorded import DEFAULT_SEARCH_S, search_recorded
    from autotune.api.settings import parse_duration
    from autotune.terminal.listing import print_recorded

    result = search_recorded(
        device,
        model,
        seed=seed,
        seconds=parse_duration(budget) if budget else DEFAULT_SEARCH_S,
        output=Path(output) if output else None,
    )
    _print_json(result.to_json()) if as_json else print_recorded(result)


@app.command()
def processors(as_json: Json = False) -> None:
    """Show the processors that ONNX Runtime can reach here."""
    from autotune.api.workplace import open_workplace
    from autotune.core.codec import encode
    from autotune.terminal.listing import print_processors

    with open_workplace(None) as place:
        if as_json:
            found = {"runtime": place.discovery.runtime, "device": encode(place.device)}
            found |= {"processors": encode(place.discovery.processors), "broken": encode(place.discovery.broken)}
            _print_json({"schema_version": 1} | found)
        else:
            print_processors(place)


@app.command()
def profile(
    model: Annotated[list[str], typer.Option("--model", "-m", metavar="MODEL", help=f"{_ZOO_OR_FILE}; repeatable.")],
    shape: Shapes = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    processors: Processors = "",
    lane: Annotated[
        list[str], typer.Option("--lane", metavar="LANE", help="Such as cpu/f32/t2; repeatable.  [default: all]")
    ] = [],  # noqa: B006
    synthetic: Annotated[
        int, typer.Option("--synthetic", metavar="NUMBER", min=0, help="Further kernels, drawn around those.")
    ] = 0,
    budget: Budget = "2min",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure the kernels of models on the lanes of this device; known ones are not measured again."""
    from autotune import api
    from autotune.core.codec import encode
    from autotune.terminal.flags import parse_dims, parse_names, parse_shapes
    from autotune.terminal.listing import print_profile
    from autotune.terminal.progress import show_progress

    settings = api.SearchSettings(
        shapes=parse_shapes(shape),
        dims=parse_dims(dim),
        processors=parse_names(processors),
        budget_s=api.parse_duration(budget),
        seed=seed,
    )
    with show_progress() as observer:
        result = api.profile(model, settings, synthetic=synthetic, lanes=lane, observer=observer)
    _print_json({"schema_version": 1} | encode(result)) if as_json else print_profile(result)


@app.command()
def retrain(
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the version before the one in use.")] = False,
    version: Annotated[str, typer.Option("--to", metavar="VERSION", help="Go back to this version.")] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train the predictor on all records of this device; use it if it beats the one in use."""
    from autotune import api
    from autotune.core.codec import encode
    from autotune.terminal.predictors import print_retrain
    from autotune.terminal.progress import show_progress

    if rollback or version:
        _roll_back(version, as_json=as_json)
        return
    with show_progress() as observer:
        result = api.retrain(seed=seed, observer=observer)
    _print_json({"schema_version": 1} | encode(result)) if as_json else print_retrain(result)


def _roll_back(version: str, *, as_json: bool) -> None:
    from autotune.api.predictor_versions import roll_back
    from autotune.datasets import home
    from autotune.processors import this_device

    used = roll_back(home(), this_device().id, version)
    _print_json({"schema_version": 1, "version": used}) if as_json else typer.echo(f"{used} is in use.")


@app.command()
def predictors(as_json: Json = False) -> None:
    """List the versions of predictors: device, records, hash of the data, accuracy, which is in use."""
    from autotune.api.predictor_versions import predictor_versions
    from autotune.core.codec import encode
    from autotune.datasets import home
    from autotune.terminal.predictors import print_versions

    found = predictor_versions(home())
    _print_json({"schema_version": 1, "predictors": encode(found)}) if as_json else print_versions(found)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{_ZOO_OR_FILE}.")],
    lane: Annotated[str, typer.Option("--lane", metavar="LANE", help="For instance cpu/f32/t2.")],
    top: Annotated[
        int,
        typer.Option("--top", metavar="NUMBER", min=0, help="How many of the most expensive kernels are explained."),
    ] = 5,
    shape: Shapes = [],  # noqa: B006
    dim: Dims = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Predict every kernel of a model on a lane, and say why."""
    from autotune import api
    from autotune.api.explaining import explain as explain_model
    from autotune.core.codec import encode
    from autotune.terminal.flags import parse_dims, parse_shapes
    from autotune.terminal.predictors import print_explanation

    settings = api.SearchSettings(shapes=parse_shapes(shape), dims=parse_dims(dim))
    found = explain_model(model, lane, settings, top=top)
    _print_json({"schema_version": 1} | encode(found)) if as_json else print_explanation(found)


@app.command()
def run(
    plan: PlanFolder,
    inputs: Inputs,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="npz for the outputs.")] = "",
    fallback: Annotated[bool, typer.Option("--fallback", help="Whole-model session if something is missing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a plan on inputs."""
    from autotune import api
    from autotune.terminal.listing import outputs_json, print_outputs, save_outputs

    samples = api.run_plan(Path(plan), [Path(path) for path in inputs], fallback=fallback)
    if output:
        save_outputs(samples, Path(output))
    _print_json(outputs_json(samples, output)) if as_json else print_outputs(samples, output)


@app.command()
def bench(
    plan: PlanFolder,
    launches: Annotated[int, typer.Option("--launches", metavar="NUMBER", min=2, help="Fresh processes.")] = 6,
    inputs: Inputs = [],  # noqa: B006
    scenario: Annotated[
        str, typer.Option("--scenario", help="Under load instead: SingleStream, MultiStream, Server or Offline.")
    ] = "",
    latency_bound: Annotated[str, typer.Option("--latency-bound", help="Of Server's p99: 50ms.")] = "",
    queries: Annotated[int, typer.Option("--queries", help="Of each run under load.")] = 200,
    generator: Annotated[
        str, typer.Option("--generator", help="own or loadgen; default: LoadGen where it is installed.")
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure a plan and its baselines again, side by side; or the plan under load in a scenario."""
    if scenario or latency_bound:
        _bench_load(plan, scenario or "Server", latency_bound, queries, generator, inputs, seed=seed, as_json=as_json)
        return
    from autotune import api
    from autotune.core.codec import encode
    from autotune.terminal.listing import print_bench
    from autotune.terminal.progress import show_progress

    with show_progress() as observer:
        result = api.bench_plan(
            Path(plan), launches=launches, inputs=[Path(path) for path in inputs], observer=observer
        )
    _print_json(
        {"schema_version": 1, "launches": result.launches, "rows": encode(result.rows)}
    ) if as_json else print_bench(result)


def _bench_load(
    plan: str,
    scenario: str,
    latency_bound: str,
    queries: int,
    generator: str,
    inputs: list[str],
    *,
    seed: int,
    as_json: bool,
) -> None:
    from autotune.api.settings import parse_duration
    from autotune.api.under_load import bench_load, load_scenario
    from autotune.terminal.loads import load_json, print_load
    from autotune.terminal.progress import show_progress

    with show_progress() as observer:
        result = bench_load(
            Path(plan),
            load_scenario(scenario),
            latency_bound_us=parse_duration(latency_bound) * 1e6 if latency_bound else None,
            queries=queries,
            inputs=[Path(path) for path in inputs],
            generator_name=generator,
            seed=seed,
            observer=observer,
        )
    _print_json(load_json(result)) if as_json else print_load(result)


@app.command()
def export(
    plan: PlanFolder,
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="Only ort-config so far.")] = "ort-config",  # noqa: A002 - the flag's name
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="For the files.  [default: PLAN-ort-config]")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write what other languages need to run a plan with plain ONNX Runtime."""
    from autotune import api
    from autotune.errors import UnknownNameError

    if format != "ort-config":
        raise UnknownNameError("format", format, known=["ort-config"])
    target = Path(output) if output else Path(plan).with_name(Path(plan).name + "-ort-config")
    result = api.export_plan(Path(plan), target)
    if as_json:
        _print_json({"schema_version": 1, "path": str(result.path), "feeds": result.feeds, "snippet": result.snippet})
    else:
        typer.echo(f"written: {result.path}\n\n{result.feeds}{result.snippet}", nl=False)


@app.command()
def ui(
    port: Annotated[int, typer.Option("--port", metavar="NUMBER", help="0: any free port.")] = 0,
    as_json: Json = False,
) -> None:
    """Start the MLflow server on loopback and print its address."""
    from autotune.datasets import home
    from autotune.tracking import serve_ui

    def ready(address: str) -> None:
        _print_json({"schema_version": 1, "address": address}) if as_json else typer.echo(address)

    serve_ui(home(), port or None, on_ready=ready)


datasets = typer.Typer(no_args_is_help=True, help="Profile records and public tables of latencies.")
app.add_typer(datasets, name="datasets")


@datasets.command("list")
def datasets_list(as_json: Json = False) -> None:
    """List the public tables that can be imported, and which are."""
    from autotune.datasets import home
    from autotune.terminal.public_data import list_json, print_list

    _print_json(list_json(home())) if as_json else print_list(home())


@datasets.command("show")
def datasets_show(
    name: Annotated[str, typer.Argument(help="A public table; without one: the records of this device.")] = "",
    as_json: Json = False,
) -> None:
    """Show how many records there are by device and lane, or the card of a public table."""
    from autotune.datasets import home
    from autotune.terminal.listing import print_records, records_json
    from autotune.terminal.public_data import card_json, print_card

    if name:
        _print_json(card_json(home(), name)) if as_json else print_card(home(), name)
    else:
        _print_json(records_json()) if as_json else print_records()


@datasets.command("export")
def datasets_export(path: Annotated[str, typer.Argument(help="Parquet file to write.")], as_json: Json = False) -> None:
    """Export all profile records as Parquet, with a card beside it."""
    from autotune.datasets import Store, export_parquet, home

    with Store(f"sqlite:///{home() / 'profiles.db'}") as store:
        card = export_parquet(store, Path(path))
    _print_json({"schema_version": 1, "path": path, "card": str(card)}) if as_json else typer.echo(f"written: {path}")


@datasets.command("import")
def datasets_import(
    path: Annotated[str, typer.Argument(help="Parquet (or CSV) file to read.")],
    name: Annotated[str, typer.Option("--as", help="Which public table it is, if its name does not say.")] = "",
    as_json: Json = False,
) -> None:
    """Import profile records that `export` wrote, or a public table; what is refused is counted with its reasons."""
    from autotune.core.codec import encode
    from autotune.datasets import Store, home, import_parquet
    from autotune.datasets.parquet import card_path
    from autotune.datasets.public import import_public

    if name or not card_path(Path(path)).exists():
        public = import_public(path, home(), name=name)
        _print_json({"schema_version": 1} | encode(public)) if as_json else typer.echo(str(public))
        return
    with Store(f"sqlite:///{home() / 'profiles.db'}") as store:
        report = import_parquet(store, Path(path))
    _print_json({"schema_version": 1} | encode(report)) if as_json else typer.echo(str(report))


@datasets.command("verify")
def datasets_verify(
    names: Annotated[list[str], typer.Argument(help="Public tables; default: all that are imported.")] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check imported public tables against their cards; exit code 1 if anything is wrong."""
    from autotune.datasets import home
    from autotune.terminal.public_data import print_verified, verified

    found = verified(home(), names)
    _print_json({"schema_version": 1, "datasets": found}) if as_json else print_verified(found)
    if any(one["wrong"] for one in found):
        raise typer.Exit(1)


@datasets.command("import-hope")
def datasets_import_hope(
    ops: Annotated[str, typer.Argument(help="hope_ops.parquet")],
    transfers: Annotated[str, typer.Argument(help="hope_transfer.parquet")],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the recorded devices.")],
    as_json: Json = False,
) -> None:
    """Make recorded devices of HOPE's tables of phones, for `search --device recorded:FOLDER`."""
    from autotune.core.codec import encode
    from autotune.datasets.hope import import_hope

    report = import_hope(ops, transfers, output)
    if as_json:
        _print_json({"schema_version": 1} | encode(report))
        return
    for name, folder in report.folders.items():
        typer.echo(f"{name}: {folder}")
    typer.echo(f"{report.kernels} kernels; {report.guessed_edges} edges led to operators that the table does not hold")


def main() -> None:
    """Entry point of `autotune`."""
    from autotune.terminal.guard import exit_codes

    with exit_codes():
        app()
