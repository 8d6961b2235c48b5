"""Value types and protocols that cross a room's boundary; imports nothing but the standard library."""

from autotune.core.contention import CoRunMeasurement, CoRunRecord
from autotune.core.device import Device
from autotune.core.folders import draft_beside, written_whole
from autotune.core.joint import (
    JOINT_SCHEMA_VERSION,
    Fairness,
    JointMember,
    JointPlan,
    Share,
    Sharing,
    Slowing,
    check_weight,
)
from autotune.core.kernel import FAMILIES, AttributeValue, Constant, Kernel, KernelNode, Signatures
from autotune.core.lane import DEFAULT_LANE, Concurrency, Lane, Precision, Processor
from autotune.core.measurement import (
    PROTOCOL_VERSION,
    Failure,
    FailureKind,
    Identity,
    Measurement,
    Notes,
    ProfileRecord,
    Protocol,
    StageRecord,
)
from autotune.core.messages import one_line
from autotune.core.observer import Observer, SilentObserver
from autotune.core.plan import (
    PLAN_SCHEMA_VERSION,
    Baseline,
    Candidate,
    ModelInfo,
    OutputError,
    Plan,
    Ratio,
    Scenario,
    SplitChoice,
    Stage,
    StageChoice,
    Timing,
    Verdict,
    VerdictKind,
)
from autotune.core.prediction import Prediction
from autotune.core.tensor import STAND_INS, TensorSpec

__all__ = [
    "DEFAULT_LANE",
    "FAMILIES",
    "JOINT_SCHEMA_VERSION",
    "PLAN_SCHEMA_VERSION",
    "PROTOCOL_VERSION",
    "STAND_INS",
    "AttributeValue",
    "Baseline",
    "Candidate",
    "CoRunMeasurement",
    "CoRunRecord",
    "Concurrency",
    "Constant",
    "Device",
    "Failure",
    "FailureKind",
    "Fairness",
    "Identity",
    "JointMember",
    "JointPlan",
    "Kernel",
    "KernelNode",
    "Lane",
    "Measurement",
    "ModelInfo",
    "Notes",
    "Observer",
    "OutputError",
    "Plan",
    "Precision",
    "Prediction",
    "Processor",
    "ProfileRecord",
    "Protocol",
    "Ratio",
    "Scenario",
    "Share",
    "Sharing",
    "Signatures",
    "SilentObserver",
    "Slowing",
    "SplitChoice",
    "Stage",
    "StageChoice",
    "StageRecord",
    "TensorSpec",
    "Timing",
    "Verdict",
    "VerdictKind",
    "check_weight",
    "draft_beside",
    "one_line",
    "written_whole",
]
