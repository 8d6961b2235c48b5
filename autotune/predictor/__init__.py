"""How long it will take: features, gradient-boosted models, intervals, evaluation, saving.

xgboost, scikit-learn, pandas and SciPy are imported where they are first used.
"""

from autotune.predictor.columns import training_columns
from autotune.predictor.duel import Duel, duel
from autotune.predictor.evaluation import Accuracy, Evaluation, evaluate
from autotune.predictor.features import FEATURES, Feature, features
from autotune.predictor.kernel_predictor import KernelPredictor
from autotune.predictor.learner import LEARNERS, learner
from autotune.predictor.registry import Champion, champion_version, load_champion, promote, register, versions
from autotune.predictor.stage_predictor import StageCost, StagePredictor
from autotune.predictor.storage import load, save
from autotune.predictor.training import MIN_RECORDS, Groups, TrainingSet

__all__ = [
    "FEATURES",
    "LEARNERS",
    "MIN_RECORDS",
    "Accuracy",
    "Champion",
    "Duel",
    "Evaluation",
    "Feature",
    "Groups",
    "KernelPredictor",
    "StageCost",
    "StagePredictor",
    "TrainingSet",
    "champion_version",
    "duel",
    "evaluate",
    "features",
    "learner",
    "load",
    "load_champion",
    "promote",
    "register",
    "save",
    "training_columns",
    "versions",
]
