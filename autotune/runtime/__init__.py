"""Runs a plan: light enough for production (imports only NumPy, ONNX Runtime, core, errors, processors)."""

from autotune.runtime.config import export_ort_config
from autotune.runtime.folder import check_target, read_plan, whole_model, write_plan
from autotune.runtime.loaded import LoadedPlan, load_plan
from autotune.runtime.snippet import python_snippet
from autotune.runtime.stages import StageRunner

__all__ = [
    "LoadedPlan",
    "StageRunner",
    "check_target",
    "export_ort_config",
    "load_plan",
    "python_snippet",
    "read_plan",
    "whole_model",
    "write_plan",
]
