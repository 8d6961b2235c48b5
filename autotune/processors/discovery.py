"""Which processors ONNX Runtime can reach here, asked and tried, not assumed."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from pathlib import Path

import onnxruntime as ort

from autotune.core import Precision, Processor
from autotune.processors import plugins as packages
from autotune.processors.builtins import BUILTINS
from autotune.processors.device import cpu_vendor
from autotune.processors.found import BrokenProvider, Discovery
from autotune.processors.found_cache import read_found, write_found
from autotune.processors.probing import Answer, Request, ask

OPENVINO_CURE = (
    "The build of ONNX Runtime with OpenVINO inside does, on any x86-64 CPU: "
    "pip uninstall -y onnxruntime onnxruntime-ep-openvino && pip install onnxruntime-openvino "
    '(README, "A CPU that is not Intel\'s")'
)
DRIVER_CURE = "Install or update the device's driver, if there is such a device."
_found: dict[bool, Discovery] = {}


def discover(*, plugins: bool = True, cache: Path | None = None) -> Discovery:
    """All processors of this environment, found once per process.

    Each but `cpu` is tried in a process of its own: a provider that crashes or hangs is reported and skipped.

    Args:
        plugins: whether installed plugin packages are looked at.
        cache: folder in which results are kept for the same packages, device and driver settings.
    """
    if plugins not in _found:
        runtime = runtime_name()
        known = read_found(cache, runtime, with_plugins=plugins)
        _found[plugins] = known or _discover(runtime, with_plugins=plugins)
        if known is None:
            write_found(cache, _found[plugins], with_plugins=plugins)
    return _found[plugins]


def already_found(name: str) -> Processor | None:
    """The processor of this name, if `discover` was called before and found it."""
    for found in _found.values():
        for processor in found.processors:
            if processor.name == name:
                return processor
    return None


def runtime_distributions() -> tuple[str, ...]:
    """Distributions that provide the module `onnxruntime`; more than one have overwritten each other."""
    return tuple(sorted(set(packages_distributions().get("onnxruntime", ()))))


def runtime_name() -> str:
    """Distribution and version that provide ONNX Runtime."""
    found = runtime_distributions()
    return f"{found[-1] if found else 'onnxruntime'} {ort.__version__}"


def _discover(runtime: str, *, with_plugins: bool) -> Discovery:
    cpu = Processor(
        name="cpu", provider="CPUExecutionProvider", device="cpu", version=ort.__version__, vendor=cpu_vendor()
    )
    processors, broken = [cpu], _mixed_runtimes(runtime_distributions())
    requests = [
        Request(short=BUILTINS[provider][0], package=provider, provider=provider, devices=BUILTINS[provider][1])
        for provider in packages.built_in()
        if provider in BUILTINS
    ]
    requests += _plugin_requests(broken) if with_plugins else []
    for request, answers in zip(requests, ask(requests), strict=True):
        names = {processor.name for processor in processors}
        found = [] if isinstance(answers, str) else _processors(request, answers)
        processors += [processor for processor in found if processor.name not in names]
        broken += _broken(request, answers)
    return Discovery(processors=tuple(processors), broken=tuple(broken), runtime=runtime)


def _plugin_requests(broken: list[BrokenProvider]) -> list[Request]:
    requests = []
    for plugin in packages.installed():
        try:
            provider, library = packages.provider_name(plugin), packages.library_path(plugin)
        except Exception as error:  # noqa: BLE001 - a broken package must not break discovery
            reason = f"cannot be imported ({error})"
            broken.append(BrokenProvider(name=plugin.package, reason=reason, cure=_reinstall(plugin.package)))
            continue
        requests.append(Request(short=plugin.short, package=plugin.package, provider=provider, library=library))
    return requests


def _reinstall(package: str) -> str:
    return f"pip install --upgrade {package}, or pip uninstall -y {package}"


def _mixed_runtimes(found: tuple[str, ...]) -> list[BrokenProvider]:
    if len(found) < 2:
        return []
    reason = f"several distributions have overwritten each other's files: {', '.join(found)}"
    cure = f"pip uninstall -y {' '.join(found)} && pip install {found[-1]} (or whichever of them you want)"
    return [BrokenProvider(name="onnxruntime", reason=reason, cure=cure)]


def _processors(request: Request, answers: list[Answer]) -> list[Processor]:
    return [
        Processor(
            name=f"{request.short}:{answer.device}{answer.ordinal or ''}",
            provider=request.provider,
            device=answer.device,
            version=answer.version,
            vendor=answer.vendor or (cpu_vendor() if answer.device == "cpu" else ""),
            registration=request.registration,
            library=request.library,
            precisions=tuple(Precision(precision) for precision in answer.precisions),
            ordinal=answer.ordinal,
        )
        for answer in answers
        if answer.precisions
    ]


def _broken(request: Request, answers: list[Answer] | str) -> list[BrokenProvider]:
    if isinstance(answers, str):
        cure = _reinstall(request.package) if request.library else DRIVER_CURE
        return [BrokenProvider(name=request.package, reason=answers, cure=cure)]
    if not answers:
        return [_no_device(request)]
    if not request.library and any(answer.precisions for answer in answers):
        return []  # a built-in provider is asked for devices that most machines lack
    return [
        BrokenProvider(name=f"{request.short}:{answer.device}", reason=answer.error, cure=DRIVER_CURE)
        for answer in answers
        if not answer.precisions
    ]


def _no_device(request: Request) -> BrokenProvider:
    vendor = cpu_vendor()
    if request.short == "openvino" and vendor != "Intel":
        reason = f"offers no device on this {vendor or 'non-Intel'} CPU"
        return BrokenProvider(name=request.package, reason=reason, cure=OPENVINO_CURE, absent=True)
    return BrokenProvider(name=request.package, reason="offers no device here", cure=DRIVER_CURE, absent=True)
