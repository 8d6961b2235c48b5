"""Lanes that are worth trying."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.core import Precision, Processor
from autotune.processors import discover, lanes_of, session_options
from autotune.processors.lanes import thread_counts

CPU = Processor(name="cpu", provider="CPUExecutionProvider", device="cpu", version="1")
OPENVINO = Processor(
    name="openvino:cpu",
    provider="OpenVINOExecutionProvider",
    device="cpu",
    version="1",
    precisions=(Precision.F32, Precision.BF16),
)


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (2, 1)), (3, (3, 1)), (8, (8, 4, 1)), (0, (1,))])
def test_threads_begin_with_all_cores_half_of_them_and_one(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts


def test_lanes_of_the_cpu_also_do_not_spin() -> None:
    assert [str(lane) for lane in lanes_of(CPU, cores=(0, 1))] == ["cpu/f32/t2", "cpu/f32/t1", "cpu/f32/t2/nospin"]


def test_one_core_has_one_lane() -> None:
    assert [str(lane) for lane in lanes_of(CPU, cores=(5,))] == ["cpu/f32/t1"]


def test_lanes_of_openvino_are_threads_times_precisions() -> None:
    found = [str(lane) for lane in lanes_of(OPENVINO, cores=(0, 1))]
    assert found == [f"openvino:cpu/{precision}/{threads}" for precision in ("f32", "bf16") for threads in ("t2", "t1")]


@pytest.mark.parametrize("provider", ["WebGpuExecutionProvider", "OpenVINOExecutionProvider"])
def test_other_devices_have_precisions_only(provider: str) -> None:
    device = "gpu" if provider.startswith("Open") else "cpu"  # WebGPU on a software driver calls itself a CPU
    processor = replace(OPENVINO, name=f"some:{device}", provider=provider, device=device)
    assert [str(lane) for lane in lanes_of(processor, cores=(0, 1))] == [f"some:{device}/f32", f"some:{device}/bf16"]


def test_every_lane_of_every_processor_here_has_session_options() -> None:
    for processor in discover().processors:
        specs = [session_options(lane) for lane in lanes_of(processor, cores=(0, 1))]
        assert len(set(specs)) == len(specs) > 0
