"""How long it will take: features, gradient-boosted models, intervals, evaluation, saving.

xgboost, scikit-learn, pandas and SciPy are imported where they are first used.
"""

from autotune.predictor.columns import training_columns
from autotune.predictor.duel import Duel, duel
from autotune.predictor.evaluation import Accuracy, Evaluation, evaluate
from autotune.predictor.features import FEATURES, Feature, features
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.learner import LEARNERS, learner
from autotune.predictor.registry import (
    Champion,
    champion_problem,
    champion_version,
    load_champion,
    promote,
    register,
    versions,
)
from autotune.predictor.slowdown import MIN_CO_RUNS, SlowdownPredictor
from autotune.predictor.slowdown_evaluation import SlowdownAccuracy, evaluate_slowdowns
from autotune.predictor.slowdown_features import SLOWDOWN_FEATURES, Load
from autotune.predictor.slowdown_storage import load_slowdown, save_slowdown
from autotune.predictor.stage_cost import StageCost
from autotune.predictor.stage_predictor import StagePredictor
from autotune.predictor.storage import load, save
from autotune.predictor.training import MIN_RECORDS, Groups, TrainingSet

__all__ = [
    "FEATURES",
    "LEARNERS",
    "MIN_CO_RUNS",
    "MIN_RECORDS",
    "SLOWDOWN_FEATURES",
    "Accuracy",
    "Champion",
    "Duel",
    "Evaluation",
    "Feature",
    "Groups",
    "KernelPredictor",
    "Load",
    "SlowdownAccuracy",
    "SlowdownPredictor",
    "StageCost",
    "StagePredictor",
    "TrainingSet",
    "champion_problem",
    "champion_version",
    "duel",
    "evaluate",
    "evaluate_slowdowns",
    "features",
    "learner",
    "load",
    "load_champion",
    "load_slowdown",
    "promote",
    "register",
    "save",
    "save_slowdown",
    "training_columns",
    "versions",
]
