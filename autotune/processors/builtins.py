"""Execution providers that a build of ONNX Runtime may bring itself, and how processors on them are called."""

from __future__ import annotations

BUILTINS = {
    "OpenVINOExecutionProvider": ("openvino", ("cpu", "gpu", "npu")),
    "CUDAExecutionProvider": ("cuda", ("gpu",)),
    "TensorrtExecutionProvider": ("tensorrt", ("gpu",)),
    "NvTensorRTRTXExecutionProvider": ("tensorrt-rtx", ("gpu",)),
    "MIGraphXExecutionProvider": ("migraphx", ("gpu",)),
    "ROCMExecutionProvider": ("rocm", ("gpu",)),
    "DmlExecutionProvider": ("dml", ("gpu",)),
    "CoreMLExecutionProvider": ("coreml", ("npu",)),
    "QNNExecutionProvider": ("qnn", ("npu",)),
    "WebGpuExecutionProvider": ("webgpu", ("gpu",)),
    "XnnpackExecutionProvider": ("xnnpack", ("cpu",)),
    "DnnlExecutionProvider": ("dnnl", ("cpu",)),
    "ACLExecutionProvider": ("acl", ("cpu",)),
    "NnapiExecutionProvider": ("nnapi", ("npu",)),
}
"""ONNX Runtime's name -> (short name, devices to try). Others, such as AzureExecutionProvider, compute nothing here."""
