"""WebGPU, on a GPU or a software driver."""

from __future__ import annotations

import pytest

from autotune.core import DEFAULT_LANE, Lane, Processor
from autotune.processors import create_session, discover, lanes_of, supports
from autotune.processors.probe import relative_rms
from autotune.processors.probe_model import INPUT, probe_input

pytestmark = pytest.mark.webgpu


@pytest.fixture
def webgpu() -> Processor:
    for processor in discover().processors:
        if processor.name.startswith("webgpu:"):
            return processor
    pytest.skip("no WebGPU device here")


def test_webgpu_computes_what_the_cpu_computes(model: bytes, webgpu: Processor) -> None:
    feeds = {INPUT: probe_input()}
    reference = create_session(model, DEFAULT_LANE).run(None, feeds)[0]
    for lane in lanes_of(webgpu, cores=(0, 1)):
        assert relative_rms(create_session(model, lane).run(None, feeds)[0], reference) < 2e-2


def test_webgpu_takes_convolutions_itself(model: bytes, webgpu: Processor) -> None:
    assert supports(model, Lane(processor=webgpu.name))
