"""Figures of `own_device.py`: small PNG files for the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
SHOWN = {
    "flops_linear": ("linear in FLOPs", "#c9c9c9"),
    "forest_per_family": ("random forest per family", "#8fb8de"),
    "boosted": ("this predictor", "#1f6fb4"),
    "test_retest": ("measured again", "#e5a33b"),
}
COLOURS = ("#1f6fb4", "#2f9e6e", "#c2553f", "#8a63b3", "#e5a33b", "#5b5b5b")


def accuracy(rows: Sequence[Mapping[str, Any]], column: str, name: str) -> Path:
    """Bars by lane: learners beside the ceiling."""
    own = [row for row in rows if row["family"] == "all" and row["lane"] != "all"]
    lanes = sorted({row["lane"] for row in own})
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for at, (learner, (label, colour)) in enumerate(SHOWN.items()):
        shares = [
            next((100 * r[column] for r in own if (r["learner"], r["lane"]) == (learner, lane)), 0) for lane in lanes
        ]
        axes.bar([place + 0.2 * (at - 1.5) for place in range(len(lanes))], shares, 0.19, label=label, color=colour)
    axes.set_xticks(range(len(lanes)), lanes)
    axes.set_ylabel("kernels within ±10 % (%)")
    axes.set_ylim(0, 100)
    axes.set_title("Kernels of models left out", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    axes.spines[["top", "right"]].set_visible(False)
    return _saved(figure, f"{name}_accuracy.png")


def curves(points: Mapping[str, Sequence[Mapping[str, Any]]], ceilings: Mapping[str, float], name: str) -> Path:
    """Accuracy against minutes, a line per lane; what is learnt from is one of `points`."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    lanes = [lane for lane in points["zoo and synthetic"][0]["within_10"] if lane != "all"]
    for lane, colour in zip(lanes, COLOURS, strict=False):
        own = points["zoo and synthetic"]
        left.plot(
            [p["minutes"] for p in own], [100 * p["within_10"][lane] for p in own], "o-", ms=3, c=colour, label=lane
        )
        if lane in ceilings:
            left.axhline(100 * ceilings[lane], color=colour, lw=0.8, ls=":")
    left.set_title("By lane; dotted: measured again", loc="left", fontsize=10)
    for (source, own), colour in zip(points.items(), COLOURS, strict=False):
        right.plot(
            [p["minutes"] for p in own], [100 * p["within_10"]["all"] for p in own], "o-", ms=3, c=colour, label=source
        )
    right.set_title("All lanes, by what is measured", loc="left", fontsize=10)
    left.set_ylabel("kernels within ±10 % (%)")
    for axes in (left, right):
        axes.set_xlabel("minutes of profiling, all lanes")
        axes.set_ylim(0, 100)
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return _saved(figure, f"{name}_curve.png")


def _saved(figure: Figure, name: str) -> Path:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / name, dpi=110)
    return FOLDER / name
