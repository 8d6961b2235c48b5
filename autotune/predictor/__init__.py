"""How long it will take: features, gradient-boosted models, intervals, evaluation, saving.

xgboost, scikit-learn, pandas and SciPy are imported where they are first used.
"""

from autotune.predictor.features import FEATURES, Feature, features
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.lane_model import TreeSettings
from autotune.predictor.stage_predictor import StageCost, StagePredictor
from autotune.predictor.training import MIN_RECORDS, Groups

__all__ = [
    "FEATURES",
    "MIN_RECORDS",
    "Feature",
    "Groups",
    "KernelPredictor",
    "StageCost",
    "StagePredictor",
    "TreeSettings",
    "features",
]
