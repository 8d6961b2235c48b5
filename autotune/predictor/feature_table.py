"""Features by group and by kernel family, for people (docs/features.md is printed from here) and for the ablation."""

from __future__ import annotations

import re

from autotune.core import FAMILIES
from autotune.predictor.features import FEATURES, Feature

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("analytic prior", r"log_prior.*"),
    ("lane", r"threads|streams|precision_bits|bfloat|spinning|pinned|.*_per_thread"),
    ("tile remainders", r".*_mod_\d+|fill_.*"),
    ("cache fit", r"log_l\d.*"),
    ("work and bytes", r"log_flops|log_bytes_.*|log_weight_bytes|log_intensity|bits"),
    ("window", r"kernel_[hw]|stride|dilation|groups"),
    ("layout", r"rank|log_run|log_rows"),
    ("operator and fusion", r"family_.*|main_op|activation|nodes|inputs"),
    ("shape", r".*"),
)
"""Group and the names that belong to it, the first that fits."""

_WINDOW = ("convolution", "depthwise", "pooling")
_NOT_FOR = {"window": tuple(name for name in FAMILIES if name not in _WINDOW)}
"""Groups that are the same for every kernel of these families."""

_MEANING = {
    "convolution": "`c_in`, `c_out`, `h_*`, `w_*` are those of images, NCHW.",
    "depthwise": "As for convolutions; as many groups as input channels.",
    "matmul": "`c_in` is the inner dimension, `c_out` the columns, `h_out` the rows, `n` the batch.",
    "attention": "As for products, of the product that decides the cost.",
    "normalisation": "`c_in` is the second dimension; what is normalised over shows in the shape.",
    "pooling": "As for convolutions, without weights.",
    "elementwise": "Bytes decide; the first input's dimensions stand for all.",
    "data_movement": "Bytes decide; FLOPs are 0.",
    "recurrent": "`c_in`, `h_in` are the sequence's; FLOPs count all steps.",
    "other": "What is known: FLOPs, bytes, the first input's and output's dimensions.",
}


def groups() -> dict[str, tuple[Feature, ...]]:
    """Every feature, by group."""
    found: dict[str, list[Feature]] = {name: [] for name, _ in _PATTERNS}
    for feature in FEATURES:
        name = next(name for name, pattern in _PATTERNS if re.fullmatch(pattern, feature.name))
        found[name].append(feature)
    return {name: tuple(own) for name, own in found.items() if own}


def family_groups(family: str) -> tuple[str, ...]:
    """Groups that can differ between kernels of a family."""
    return tuple(name for name in groups() if family not in _NOT_FOR.get(name, ()))


def document() -> str:
    """docs/features.md."""
    lines = [
        "# What the predictors see",
        "",
        "One row of numbers per kernel and lane (`autotune/predictor/features.py`); trees split on them, the roofline",
        "uses FLOPs and bytes. This page is printed by `python -m autotune.predictor.feature_table`; a test compares.",
        "`python benchmarks/ablation.py --home FOLDER` says what each group earns on models left out ([what came",
        "out](accuracy.md#what-each-group-of-features-earns)): what is hidden is hidden from physics, like kernels",
        "and trees alike. Groups repeat each other (cache fit is bytes over a constant), so that each is also shown",
        "alone.",
        "",
        "Layout: ONNX's images are NCHW, and whether a provider holds them in blocks or channels last is its own",
        "affair, which no kernel says; predictors are learnt per lane, so that a lane's habit is in its level. What",
        "a kernel does say is how far apart it moves elements (a transpose's permutation, the axis of a Concat or",
        "Split): `log_run`. Changes of layout between kernels belong to none of them.",
        "",
        "## By kernel family",
        "",
        "| family | groups that differ within it | what the dimensions mean |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {', '.join(family_groups(name))} | {_MEANING[name]} |" for name in FAMILIES]
    for name, own in groups().items():
        lines += ["", f"## {name[0].upper()}{name[1:]}", "", "| feature | unit | reason |", "|---|---|---|"]
        lines += [f"| `{feature.name}` | {feature.unit} | {feature.reason} |" for feature in own]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
