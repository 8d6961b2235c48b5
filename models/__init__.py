"""The zoo: reference networks built from code (edit here; imports as autotune.models; holds code, not data)."""

from autotune.models.registry import ZooModel, build, get, names, save
from autotune.models.samples import load_inputs, sample_inputs, settled_shapes

__all__ = ["ZooModel", "build", "get", "load_inputs", "names", "sample_inputs", "save", "settled_shapes"]
