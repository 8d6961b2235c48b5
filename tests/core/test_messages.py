"""Messages of libraries, as a user reads them."""

from __future__ import annotations

from autotune.core.messages import MESSAGE_CHARACTERS, one_line


def test_messages_lose_source_paths_and_keep_what_happened() -> None:
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime/core/x.cc:136 f(int) "
        "[OpenVINO-EP] Exception while Loading: Exception from src/inference/core.cpp:114:\n"
        "Exception from src/c.cpp:4:\n"
        "NotFound: Unsupported property BLA.\n\n"
    )
    assert one_line(RuntimeError(message)) == "Exception while Loading: NotFound: Unsupported property BLA."
    assert len(one_line(RuntimeError("x" * 9999))) == MESSAGE_CHARACTERS


def test_messages_lose_signatures_and_temporary_files() -> None:
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/autotune-x/source.onnx failed:/src/core/load_utils.h:46 "
        "void onnxruntime::Validate(const std::unordered_map<std::string, int>&, const onnxruntime::Logger&, bool) "
        "ONNX Runtime only *guarantees* support for released opsets (Opset 99 is not)."
    )
    assert one_line(message) == "FAIL: ONNX Runtime only *guarantees* support for released opsets (Opset 99 is not)."
