"""Flags that several commands share, and how they print JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ZOO_OR_FILE = "A name of the zoo (yolo, resnet50, …) or an ONNX file"
Model = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help=f"{ZOO_OR_FILE}.")]
Models = Annotated[
    list[str], typer.Option("--model", "-m", metavar="MODEL", help=f"{ZOO_OR_FILE}; several are tuned together.")
]
Shapes = Annotated[
    list[str], typer.Option("--shape", metavar="NAME=1,3,320,320", help="An input's full shape; the zoo builds for it.")
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


def _seed(value: int) -> int:
    from autotune.api.settings import check_seed

    return check_seed(value)


Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", callback=_seed, help="Of everything random.")]
PlanFolder = Annotated[str, typer.Argument(metavar="PLAN", help="Folder of a plan.")]


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str, allow_nan=False))
