"""Figures of a search, where matplotlib is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

LOGARITHMIC_FROM = 20.0
"""Ratio of the largest to the smallest latency from which the axes are logarithmic."""


def save_predicted_against_measured(pairs: Sequence[tuple[str, float, float]], path: Path) -> bool:
    """Draws predicted against measured latency of the verified candidates, on equal axes.

    Args:
        pairs: (name, predicted, measured), milliseconds.
        path: where the figure goes.

    Returns:
        Whether it was drawn: False with fewer than two pairs or without matplotlib.
    """
    shown = [(predicted, measured) for _, predicted, measured in pairs if predicted > 0 and measured > 0]
    if len(shown) < 2 or importlib.util.find_spec("matplotlib") is None:
        return False
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # "building the font cache", on stderr
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    low, high = 0.9 * min(map(min, shown)), 1.1 * max(map(max, shown))
    axes.plot([low, high], [low, high], color="grey", linewidth=1, label="equal")
    axes.fill_between([low, high], [0.9 * low, 0.9 * high], [1.1 * low, 1.1 * high], color="0.9", label="within 10 %")
    axes.scatter([measured for _, measured in shown], [predicted for predicted, _ in shown], label="candidates")
    scale = "log" if high > LOGARITHMIC_FROM * low else "linear"  # over less, the ticks of a logarithmic axis collide
    axes.set(xscale=scale, yscale=scale, xlim=(low, high), ylim=(low, high))
    axes.set(xlabel="measured (ms)", ylabel="predicted before measuring (ms)", title="Verified candidates")
    axes.legend()
    figure.savefig(path, dpi=120)
    return True
