"""autotune: a learned cost model and autotuner for ONNX inference on heterogeneous processors.

Importing this package loads nothing heavy; each name below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.api import profile, retrain, search, search_together
    from autotune.runtime import load_plan, load_plans

__version__ = "0.1.0"
__all__ = ["__version__", "load_plan", "load_plans", "profile", "retrain", "search", "search_together"]

_HOME_OF = {
    "load_plan": "autotune.runtime",
    "load_plans": "autotune.runtime",
    "search": "autotune.api",
    "profile": "autotune.api",
    "search_together": "autotune.api",
    "retrain": "autotune.api",
}


def __getattr__(name: str) -> Any:  # the values are functions of different types
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'autotune' has no attribute {name!r}")
