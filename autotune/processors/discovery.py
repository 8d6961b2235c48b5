"""Which processors ONNX Runtime can reach here, asked and tried, not assumed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import onnxruntime as ort

from autotune.core import Precision, Processor
from autotune.core.codec import decode, encode
from autotune.errors import MissingProcessorError
from autotune.processors import plugins
from autotune.processors.device import cpu_vendor, this_device

PROBE_DEADLINE_S = 60.0
CACHE_VERSION = 2
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
OPENVINO_CURE = (
    "To use OpenVINO on any x86-64 CPU, install the build of ONNX Runtime that has it inside: "
    "pip uninstall -y onnxruntime onnxruntime-ep-openvino && pip install onnxruntime-openvino"
)
DRIVER_CURE = "Install or update the device's driver, if there is such a device."


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenProvider:
    """A provider that is installed but cannot be used.

    Args:
        name: the package or provider.
        reason: what was seen.
        cure: what to do.
    """

    name: str
    reason: str
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What was found.

    Args:
        processors: those that work, `cpu` first.
        broken: those that do not.
        runtime: distribution and version that provide ONNX Runtime, `onnxruntime 1.32.0`.
    """

    processors: tuple[Processor, ...]
    broken: tuple[BrokenProvider, ...]
    runtime: str

    def get(self, name: str) -> Processor:
        """The processor of this name.

        Raises:
            MissingProcessorError: there is none here; lists the known and why others are not usable.
        """
        for processor in self.processors:
            if processor.name == name:
                return processor
        known = ", ".join(processor.name for processor in self.processors)
        why = "; ".join(f"{item.name}: {item.reason}. {item.cure}" for item in self.broken)
        raise MissingProcessorError(
            f"no processor {name!r} here; known: {known}." + (f" Not usable: {why}" if why else "")
        )


_found: dict[bool, Discovery] = {}


def discover(*, plugins: bool = True, cache: Path | None = None) -> Discovery:
    """All processors of this environment, found once per process.

    Each but `cpu` is tried in a process of its own: a provider that crashes or hangs is reported and skipped.

    Args:
        plugins: whether installed plugin packages are looked at.
        cache: folder in which results are kept for the same packages and device.
    """
    if plugins not in _found:
        key = _cache_key(with_plugins=plugins)
        stored = _read_cache(cache, key)
        _found[plugins] = stored or _discover(with_plugins=plugins)
        if stored is None:
            _write_cache(cache, key, _found[plugins])
    return _found[plugins]


def resolve(name: str) -> Processor:
    """The processor of this name without trying it: what a worker or a production program needs, in microseconds.

    Its precisions are those that were found, if `discover` was called before; else only the float32 that every one has.

    Raises:
        MissingProcessorError: its provider is not in this environment, or offers no such device; lists the known.
    """
    for found in _found.values():
        if any(processor.name == name for processor in found.processors):
            return found.get(name)
    if name == "cpu":
        return Processor(name="cpu", provider="CPUExecutionProvider", device="cpu", version=ort.__version__)
    short, _, device = name.partition(":")
    kind = device.rstrip("0123456789")
    ordinal = int(device[len(kind) :] or 0)
    for provider in ort.get_available_providers():
        if provider in BUILTINS and BUILTINS[provider][0] == short and kind in BUILTINS[provider][1]:
            return Processor(name=name, provider=provider, device=kind, version=ort.__version__, ordinal=ordinal)
    for plugin in plugins.installed():
        if plugin.short == short:
            found_here = _plugin_processor(plugin, name, kind, ordinal)
            if found_here is not None:
                return found_here
    return discover().get(name)  # raises, with all that is known and why the others are not usable


def _plugin_processor(plugin: plugins.PluginPackage, name: str, kind: str, ordinal: int) -> Processor | None:
    provider, library = plugins.provider_name(plugin), plugins.library_path(plugin)
    plugins.register(provider, library)
    devices = [item for item in plugins.devices(provider) if plugins.device_kind(item) == kind]
    if len(devices) <= ordinal:
        return None
    version = str(devices[ordinal].ep_metadata.get("version", ""))
    return Processor(
        name=name,
        provider=provider,
        device=kind,
        version=version,
        registration="plugin",
        library=library,
        ordinal=ordinal,
    )


def runtime_distributions() -> tuple[str, ...]:
    """Distributions that provide the module `onnxruntime`; more than one have overwritten each other."""
    return tuple(sorted(set(packages_distributions().get("onnxruntime", ()))))


def _runtime() -> str:
    found = runtime_distributions()
    name = found[-1] if found else "onnxruntime"
    return f"{name} {ort.__version__}"


def _discover(*, with_plugins: bool) -> Discovery:
    vendor = cpu_vendor()
    processors = [
        Processor(name="cpu", provider="CPUExecutionProvider", device="cpu", version=ort.__version__, vendor=vendor)
    ]
    broken = _mixed_runtimes()
    for provider in ort.get_available_providers():
        if provider in BUILTINS:
            short, devices = BUILTINS[provider]
            request = {"provider": provider, "registration": "builtin", "library": "", "devices": list(devices)}
            _take(short, provider, request, processors, broken)
    for plugin in plugins.installed() if with_plugins else ():
        if any(processor.name.startswith(f"{plugin.short}:") for processor in processors):
            continue
        try:
            provider, library = plugins.provider_name(plugin), plugins.library_path(plugin)
        except Exception as error:  # noqa: BLE001 - a broken package must not break discovery
            cure = f"pip install --upgrade {plugin.package}, or uninstall it"
            broken.append(BrokenProvider(name=plugin.package, reason=f"cannot be imported ({error})", cure=cure))
            continue
        request = {"provider": provider, "registration": "plugin", "library": library, "devices": []}
        _take(plugin.short, plugin.package, request, processors, broken)
    return Discovery(processors=tuple(processors), broken=tuple(broken), runtime=_runtime())


def _mixed_runtimes() -> list[BrokenProvider]:
    found = runtime_distributions()
    if len(found) < 2:
        return []
    names = " ".join(found)
    return [
        BrokenProvider(
            name="onnxruntime",
            reason=f"several distributions have overwritten each other: {', '.join(found)}",
            cure=f"pip uninstall -y {names}, then install the one you want, for instance: pip install {found[-1]}",
        )
    ]


def _take(
    short: str, name: str, request: dict[str, Any], processors: list[Processor], broken: list[BrokenProvider]
) -> None:
    """Probes one provider and files what comes back."""
    answers = _probe_each(request)
    if isinstance(answers, str):
        broken.append(BrokenProvider(name=name, reason=answers, cure=f"pip install --upgrade {name}, or uninstall it"))
        return
    if not answers:
        broken.append(_no_device(short, name))
        return
    working = [answer for answer in answers if answer["precisions"]]
    silent = working and request["registration"] == "builtin"  # a built-in provider is asked for devices it may lack
    for answer in [] if silent else [answer for answer in answers if not answer["precisions"]]:
        reason = answer["error"] or "gives wrong outputs for a chain of convolutions"
        broken.append(BrokenProvider(name=f"{short}:{answer['device']}", reason=reason, cure=DRIVER_CURE))
    for answer in working:
        suffix = str(answer["ordinal"]) if answer["ordinal"] else ""
        processors.append(
            Processor(
                name=f"{short}:{answer['device']}{suffix}",
                provider=request["provider"],
                device=answer["device"],
                version=answer["version"],
                vendor=answer["vendor"],
                registration=request["registration"],
                library=request["library"],
                precisions=tuple(Precision(precision) for precision in answer["precisions"]),
                ordinal=answer["ordinal"],
            )
        )


def _probe_each(request: dict[str, Any]) -> list[dict[str, Any]] | str:
    """All devices in one process; each in its own where one of them took the others with it."""
    answers = _probe(request)
    if isinstance(answers, list) or len(request["devices"]) < 2:
        return answers
    found: list[dict[str, Any]] = []
    for device in request["devices"]:
        answer = _probe(request | {"devices": [device]})
        failed = {"device": device, "ordinal": 0, "version": "", "vendor": "", "precisions": [], "error": answer}
        found += [failed] if isinstance(answer, str) else answer
    return found


def _no_device(short: str, name: str) -> BrokenProvider:
    vendor = cpu_vendor()
    if short == "openvino" and vendor != "Intel":
        reason = (
            f"loads, but offers no device on this {vendor or 'non-Intel'} CPU (the plugin claims Intel hardware only)"
        )
        return BrokenProvider(name=name, reason=reason, cure=OPENVINO_CURE)
    return BrokenProvider(name=name, reason="loads, but offers no device here", cure=DRIVER_CURE)


def _probe(request: dict[str, Any]) -> list[dict[str, Any]] | str:
    """The answers of the probe, or what went wrong."""
    command = [sys.executable, "-m", "autotune.processors.probe", json.dumps(request)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"hangs (no answer in {PROBE_DEADLINE_S:.0f} s)"
    if done.returncode < 0:
        return f"crashes (killed by signal {-done.returncode})"
    lines = done.stdout.strip().splitlines()
    try:
        answers = json.loads(lines[-1]) if lines else None
    except ValueError:
        answers = None
    if done.returncode or not isinstance(answers, list):
        errors = done.stderr.strip().splitlines()
        return errors[-1][:300] if errors else f"ends with exit code {done.returncode}"
    return answers


def _cache_key(*, with_plugins: bool) -> str:
    packages = sorted({plugin.package for plugin in plugins.installed()} if with_plugins else ())
    facts = [f"v{CACHE_VERSION}", this_device().id, _runtime(), sys.executable]
    for package in (*packages, *runtime_distributions()):
        try:
            facts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            facts.append(package)
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]


def _read_cache(cache: Path | None, key: str) -> Discovery | None:
    if cache is None:
        return None
    try:
        return decode(Discovery, json.loads((cache / f"processors-{key}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_cache(cache: Path | None, key: str, found: Discovery) -> None:
    """A cache that cannot be written costs seconds, nothing else."""
    if cache is None:
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        draft = cache / f"processors-{key}.part"
        draft.write_text(json.dumps(encode(found)))
        draft.replace(cache / f"processors-{key}.json")
    except OSError:
        return
