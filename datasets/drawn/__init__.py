"""Graphs as published networks have them, drawn with a seed."""

from autotune.datasets.drawn.chains import drawn_graph

__all__ = ["drawn_graph"]
