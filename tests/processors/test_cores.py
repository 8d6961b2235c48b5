"""Cores of lanes: disjoint by construction, and really those that threads run on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.core import Concurrency, Lane, Processor
from autotune.errors import UsageError
from autotune.processors import allowed_cores, create_session, spread
from autotune.processors.cores import pin_thread, pinned
from autotune.processors.probe_model import probe_model

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins single threads")


def threads() -> set[int]:
    """Native ids of all threads of this process."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


@given(
    st.lists(st.tuples(st.sampled_from(["cpu", "gpu"]), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4),
    st.integers(1, 24),
)
def test_lanes_that_run_together_never_share_a_core(settings: list[tuple[str, int, int]], cores: int) -> None:
    lanes = [
        Lane(processor=f"p{at}:{device}", concurrency=Concurrency(threads=threads, streams=streams))
        for at, (device, threads, streams) in enumerate(settings)
    ]
    needed = sum(lane.threads_busy(lane.concurrency.streams) for lane in lanes)
    if needed > cores:
        with pytest.raises(UsageError, match=f"need {needed} cores"):
            spread(lanes, range(cores))
        return
    found = spread(lanes, range(cores))
    taken = [core for lane in found for core in lane.concurrency.cores]
    assert len(taken) == len(set(taken)) == needed
    assert set(taken) <= set(range(cores))
    assert [lane.concurrency.streams for lane in found] == [streams for *_, streams in settings]


def test_a_cpu_lane_needs_a_core_per_thread_and_other_devices_none() -> None:
    texts = ("cpu/f32/t2/s2", "openvino:cpu/f32/t4/s2", "cpu/f32", "webgpu:gpu")
    assert [str(lane) for lane in spread([Lane.parse(text) for text in texts], range(9))] == [
        "cpu/f32/t2/s2/c0+1+2+3",
        "openvino:cpu/f32/t4/s2/c4+5+6+7",
        "cpu/f32/t1/c8",
        "webgpu:gpu/f32",
    ]


def test_a_lane_that_is_named_twice_is_refused() -> None:
    lane = Lane.parse("cpu/f32/t1")
    with pytest.raises(UsageError, match="two streams"):
        spread([lane, lane], [0, 1])


@LINUX
def test_a_block_pins_its_thread_and_lets_go() -> None:
    before = allowed_cores()
    with pinned([before[-1]]):
        assert allowed_cores() == (before[-1],)
    assert allowed_cores() == before
    with pinned([]):
        assert allowed_cores() == before
    impossible = [max(before) + 1000]
    with pytest.raises(UsageError, match="cannot be pinned"), pinned(impossible):
        pass
    with pytest.raises(UsageError, match="cannot be pinned"):
        pin_thread(impossible)


@LINUX
def test_threads_of_a_session_stay_on_its_cores() -> None:
    core = allowed_cores()[-1]
    own = threads()
    session = create_session(probe_model(), Lane.parse(f"cpu/f32/t3/c{core}"))
    started = threads() - own
    assert len(started) >= 2
    assert {tuple(os.sched_getaffinity(task)) for task in started} == {(core,)}
    del session


@LINUX
def test_a_session_on_cores_that_do_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be pinned"):
        create_session(probe_model(), Lane.parse(f"cpu/f32/t1/c{max(allowed_cores()) + 1000}"))


@pytest.mark.openvino
@LINUX
def test_openvino_starts_its_threads_on_the_lanes_cores(openvino: Processor) -> None:
    core = allowed_cores()[-1]
    own = threads()
    session = create_session(probe_model(), Lane.parse(f"{openvino.name}/f32/t1/c{core}"))
    started = threads() - own
    assert {tuple(os.sched_getaffinity(task)) for task in started} <= {(core,)}
    del session
