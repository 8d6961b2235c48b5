"""Runs a plan: light enough for production (imports only NumPy, ONNX Runtime, core, errors, processors)."""

from autotune.runtime.config import export_ort_config
from autotune.runtime.drafts import check_target
from autotune.runtime.folder import read_plan, whole_model, write_plan
from autotune.runtime.joint_folder import is_joint, own_folder, read_joint, write_joint
from autotune.runtime.loaded import LoadedPlan, load_plan
from autotune.runtime.loaded_together import LoadedPlans, load_plans
from autotune.runtime.snippet import example_feeds, python_snippet
from autotune.runtime.stages import StageRunner
from autotune.runtime.together import Together

__all__ = [
    "LoadedPlan",
    "LoadedPlans",
    "StageRunner",
    "Together",
    "check_target",
    "example_feeds",
    "export_ort_config",
    "is_joint",
    "load_plan",
    "load_plans",
    "own_folder",
    "python_snippet",
    "read_joint",
    "read_plan",
    "whole_model",
    "write_joint",
    "write_plan",
]
