"""A processor by its name, without trying it."""

from __future__ import annotations

import re
from dataclasses import replace

import onnxruntime as ort

from autotune.core import Processor
from autotune.errors import MissingProcessorError, SessionError
from autotune.processors import plugins
from autotune.processors.builtins import BUILTINS
from autotune.processors.discovery import already_found, discover
from autotune.processors.spec import SessionSpec


def resolve(name: str) -> Processor:
    """The processor of this name without trying it: what a worker or a production program needs, in microseconds.

    Its precisions are those that were found, if `discover` was called before; else only the float32 that every one has.

    Raises:
        MissingProcessorError: its provider is not in this environment, or offers no such device; lists the known.
    """
    known = already_found(name)
    if known is not None:
        return known
    if name == "cpu":
        return Processor(name="cpu", provider="CPUExecutionProvider", device="cpu", version=ort.__version__)
    match = re.fullmatch(r"([a-z-]+):(cpu|gpu|npu)(\d*)", name)
    if match is None:
        return discover().get(name)
    short, kind, ordinal = match[1], match[2], int(match[3] or 0)
    for provider in plugins.built_in():
        if provider in BUILTINS and BUILTINS[provider][0] == short and kind in BUILTINS[provider][1]:
            return Processor(name=name, provider=provider, device=kind, version=ort.__version__, ordinal=ordinal)
    for plugin in plugins.installed():
        found = _plugin_processor(plugin, name, kind, ordinal) if plugin.short == short else None
        if found is not None:
            return found
    return discover().get(name)  # raises, with all that is known and why the others are not usable


def _plugin_processor(plugin: plugins.PluginPackage, name: str, kind: str, ordinal: int) -> Processor | None:
    try:
        provider, library = plugins.provider_name(plugin), plugins.library_path(plugin)
        plugins.register(provider, library)
    except Exception as error:
        raise MissingProcessorError(
            f"{name} is not usable here: {plugin.package} cannot be loaded ({error}); "
            "reinstall it, or use a plan without it."
        ) from error
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


def locate(spec: SessionSpec) -> SessionSpec:
    """Options that name a provider, with the plugin that brings it where this build of ONNX Runtime lacks it.

    A user's own options name a provider alike in both forms. A built-in OpenVINO chooses its device by the option
    `device_type`, a plugin by the device it is added for.

    Raises:
        SessionError: the plugin's library cannot be registered.
    """
    if spec.registration == "plugin" or spec.provider in plugins.built_in():
        return spec
    options = dict(spec.provider_options)
    wanted = options.pop("device_type", "").partition(".")[0].lower()
    for plugin in plugins.installed():
        if plugins.provider_name(plugin) != spec.provider:
            continue
        library = plugins.library_path(plugin)
        kind = wanted or _first_device(spec.provider, library) or spec.device
        return replace(
            spec, registration="plugin", library=library, device=kind, provider_options=tuple(options.items())
        )
    return spec


def _first_device(provider: str, library: str) -> str:
    try:
        plugins.register(provider, library)
    except Exception as error:
        raise SessionError(f"the library of {provider} cannot be registered: {error}") from error
    return next((plugins.device_kind(item) for item in plugins.devices(provider)), "")
