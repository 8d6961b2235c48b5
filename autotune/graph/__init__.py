"""ONNX file -> shapes, operators, FLOPs and bytes, kernels, legal cuts, sub-models."""

from autotune.graph.arrays import load_arrays, save_arrays
from autotune.graph.build import build_kernel, chainable
from autotune.graph.extract import StageFile, extract
from autotune.graph.graph import Cut, Graph, KernelUse, load
from autotune.graph.inputs import embedding_limits, random_inputs
from autotune.graph.operators import Operator
from autotune.graph.parts import OutputPart

__all__ = [
    "Cut",
    "Graph",
    "KernelUse",
    "Operator",
    "OutputPart",
    "StageFile",
    "build_kernel",
    "chainable",
    "embedding_limits",
    "extract",
    "load",
    "load_arrays",
    "random_inputs",
    "save_arrays",
]
