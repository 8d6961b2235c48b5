"""Why something that ran is not taken: the report says which of the reasons it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from autotune.api import search
from autotune.api.run import Contender
from autotune.api.settings import PrecisionPolicy, SearchSettings
from autotune.api.workplace import Workplace
from autotune.core import Candidate, Device, Lane, OutputError, Precision, Processor, Scenario, StageChoice
from autotune.errors import MissingProcessorError
from autotune.processors import Discovery
from autotune.profiler import Job
from tests.api.conftest import bare_run, quick

WITHIN, BEYOND = OutputError(relative_rms=1e-4, max_abs=0.0), OutputError(relative_rms=1e-2, max_abs=0.0)
SILENT = OutputError(relative_rms=0.0, max_abs=0.0, no_signal=("scores",))


def refusal(
    precision: str, error: OutputError | None, policy: PrecisionPolicy = PrecisionPolicy.AUTO, *, real: bool = True
) -> str:
    run = bare_run(SearchSettings(precision=policy), task=SimpleNamespace(real_inputs=real))
    lane = Lane.parse(f"openvino:cpu/{precision}/t2")
    contender = Contender(
        name=f"single:{lane}",
        job=Job(name="", stages=(), outputs=(), feeds="", scenario=Scenario.SINGLE_STREAM),
        candidate=Candidate(stages=(StageChoice(start=0, stop=1, lane=lane),)),
        error=error,
    )
    assert run.feasible(contender) == (not run.refusal(contender))
    return run.refusal(contender)


@pytest.mark.parametrize(
    ("why", "precision", "error", "policy", "real"),
    [
        ("", "f32", WITHIN, PrecisionPolicy.AUTO, True),
        ("", "bf16", WITHIN, PrecisionPolicy.AUTO, True),
        ("", "bf16", WITHIN, PrecisionPolicy.ANY, False),
        ("not within the tolerance", "bf16", BEYOND, PrecisionPolicy.AUTO, True),
        ("below float32 without --inputs", "bf16", WITHIN, PrecisionPolicy.AUTO, False),
        ("below float32 with --precision float32", "bf16", WITHIN, PrecisionPolicy.FLOAT32, True),
        ("scores says nothing", "bf16", SILENT, PrecisionPolicy.AUTO, True),
        ("outputs are not known", "f32", None, PrecisionPolicy.AUTO, True),
    ],
)
def test_the_reason_is_the_one_that_holds(
    why: str, precision: str, error: OutputError | None, policy: PrecisionPolicy, real: bool
) -> None:
    found = refusal(precision, error, policy, real=real)
    assert why in found if why else not found


def test_at_float32_nothing_below_it_is_there_to_be_measured() -> None:
    place = workplace({"openvino:cpu": (Precision.F32, Precision.BF16), "npu": (Precision.F16,)})
    kept = place.at_float32().processors
    assert [(processor.name, processor.precisions) for processor in kept] == [("openvino:cpu", (Precision.F32,))]


def test_a_processor_without_float32_alone_is_an_error() -> None:
    with pytest.raises(MissingProcessorError, match="npu computes in lower precisions only"):
        workplace({"npu": (Precision.F16,)}).at_float32()


def workplace(precisions: dict[str, tuple[Precision, ...]]) -> Workplace:
    processors = tuple(
        Processor(name=name, provider=name, device="cpu", version="1", precisions=own)
        for name, own in precisions.items()
    )
    device = Device(id="1", name="test", system="Linux", machine="x86_64", cores=(0, 1), memory_bytes=1)
    discovery = Discovery(processors=processors, broken=(), runtime="onnxruntime 1")
    return Workplace(home=Path(), work=Path(), device=device, discovery=discovery, processors=processors)


@pytest.mark.usefixtures("singles_only")
def test_outputs_that_say_nothing_are_named(tmp_path: Path, place: Path) -> None:
    """Constant on the inputs given: no error of theirs means anything."""
    node = helper.make_node("Sub", ["images", "images"], ["nothing"])
    shape = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 24, 24])
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["images"], ["something"])],
        "silent",
        [shape],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 24, 24]) for name in ("nothing", "something")],
    )
    path = tmp_path / "silent.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    result = search(path, quick(place, output=tmp_path / "plan"))
    assert any(warning.startswith("nothing is constant or nearly zero") for warning in result.warnings)
