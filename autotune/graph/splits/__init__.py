"""Operators divided between lanes, as a graph rewrite that yields an ordinary ONNX model.

A chain of operators is divided along an axis of its only result; rules say, from the last operator to the first, which
range of each tensor a part needs. Inputs are sliced, weights are cut, a Concat joins the parts. What every system
that splits operators does by hand: CoDL (Jia et al., MobiSys 2022) divides convolutions by height or output channels
and keeps chains divided, HeteroLLM (arXiv 2501.14794) divides matrix products by columns or rows.
"""

from autotune.graph.splits.divide import Divided, divide
from autotune.graph.splits.rewrite import Split, can_divide
from autotune.graph.splits.sites import SplitKind, SplitSite, find_sites

__all__ = ["Divided", "Split", "SplitKind", "SplitSite", "can_divide", "divide", "find_sites"]
