"""Graphs as published networks have them, drawn with a seed."""

from autotune.datasets.drawn.chains import drawn_graph
from autotune.datasets.drawn.origins import DRAWN, Drawn, architecture

__all__ = ["DRAWN", "Drawn", "architecture", "drawn_graph"]
