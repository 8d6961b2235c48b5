"""Which measurement next: a committee asks for the kernels on which it disagrees and that matter, while others run."""

from autotune.learning.belief import Belief, believe
from autotune.learning.devices import device_predictor, learner_with, records_for, records_of_others
from autotune.learning.loop import Pace, free_core, learn
from autotune.learning.measuring import DeviceMeasurer, Measurer
from autotune.learning.queue import Queue
from autotune.learning.ranking import ranked
from autotune.learning.values import End, Lesson, Question, Span, Work

__all__ = [
    "Belief",
    "DeviceMeasurer",
    "End",
    "Lesson",
    "Measurer",
    "Pace",
    "Question",
    "Queue",
    "Span",
    "Work",
    "believe",
    "device_predictor",
    "free_core",
    "learn",
    "learner_with",
    "ranked",
    "records_for",
    "records_of_others",
]
