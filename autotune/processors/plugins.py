"""Packages that bring an execution provider as a plugin library."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginPackage:
    """A package with a plugin library.

    Args:
        package: its name on the package index.
        module: what it is imported as.
        short: the provider's name in a processor's name.
    """

    package: str
    module: str
    short: str


PLUGINS = (
    PluginPackage(package="onnxruntime-ep-openvino", module="onnxruntime_ep_openvino", short="openvino"),
    PluginPackage(package="onnxruntime-ep-webgpu", module="onnxruntime_ep_webgpu", short="webgpu"),
    PluginPackage(package="onnxruntime-qnn", module="onnxruntime_qnn", short="qnn"),
    PluginPackage(
        package="onnxruntime-ep-nv-tensorrt-rtx", module="onnxruntime_ep_nv_tensorrt_rtx", short="tensorrt-rtx"
    ),
    PluginPackage(package="onnxruntime-ep-mlx", module="onnxruntime_ep_mlx", short="mlx"),
)

_registered: set[str] = set()
_lock = threading.Lock()


def installed() -> tuple[PluginPackage, ...]:
    """Plugin packages of this environment."""
    return tuple(plugin for plugin in PLUGINS if importlib.util.find_spec(plugin.module) is not None)


def provider_name(plugin: PluginPackage) -> str:
    """ONNX Runtime's name of the plugin's provider."""
    module = importlib.import_module(plugin.module)
    if hasattr(module, "get_ep_names"):
        return str(module.get_ep_names()[0])
    return str(module.get_ep_name())


def library_path(plugin: PluginPackage) -> str:
    """The plugin's library."""
    return str(importlib.import_module(plugin.module).get_library_path())


def register(provider: str, library: str) -> None:
    """Registers a plugin library with ONNX Runtime, once per process; not what the program has registered itself."""
    with _lock:
        if provider not in _registered and library:
            if provider not in _brought():
                ort.register_execution_provider_library(provider, library)
            _registered.add(provider)


def built_in() -> list[str]:
    """Providers of this build of ONNX Runtime itself.

    `get_available_providers` lists those of plugins too, once their libraries are registered.
    """
    brought = _brought()
    return [provider for provider in ort.get_available_providers() if provider not in brought]


def devices(provider: str) -> list[Any]:
    """ONNX Runtime's devices of a provider whose library is registered; empty where ONNX Runtime has no such list."""
    return [item for item in _all_devices() if item.ep_name == provider]


def _brought() -> set[str]:
    """Providers that registered libraries bring: ONNX Runtime notes the library of each device."""
    return {item.ep_name for item in _all_devices() if item.ep_metadata.get("library_path")}


def _all_devices() -> list[Any]:
    return list(ort.get_ep_devices()) if hasattr(ort, "get_ep_devices") else []


def device_kind(item: Any) -> str:
    """`cpu`, `gpu` or `npu` of one of ONNX Runtime's devices."""
    return str(item.device.type).rsplit(".", maxsplit=1)[-1].lower()
