"""Names become processors without trying them."""

from __future__ import annotations

import onnxruntime as ort
import pytest

from autotune.errors import MissingProcessorError
from autotune.processors import discover, resolve, resolving


def test_the_cpu_needs_no_discovery(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "discover", lambda: pytest.fail("discovered"))
    assert resolve("cpu").provider == "CPUExecutionProvider"


def test_a_built_in_provider_is_named_without_trying_it(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "discover", lambda: pytest.fail("discovered"))
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    found = resolve("cuda:gpu1")
    assert (found.provider, found.device, found.ordinal) == ("CUDAExecutionProvider", "gpu", 1)


def test_what_was_discovered_is_found_again() -> None:
    for processor in discover().processors:
        assert resolve(processor.name) == processor


@pytest.mark.parametrize("name", ["no:gpu", "cuda", "cpu2", "openvino:gpu²", ""])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(MissingProcessorError, match="known: cpu"):
        resolve(name)
