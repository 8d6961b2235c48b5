"""What is found, and what is said of what cannot be used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import onnxruntime as ort
import pytest

from autotune.core import Precision, Processor
from autotune.errors import MissingProcessorError
from autotune.processors import Discovery, discover, discovery, plugins, probing
from autotune.processors.plugins import PluginPackage
from autotune.processors.probing import Answer, Request, ask

SOME = Request(short="some", package="onnxruntime-ep-some", provider="SomeExecutionProvider", library="/x/libsome.so")
posix = pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for the probe")


def test_the_cpu_is_always_there_and_first() -> None:
    found = discover()
    assert found.processors[0].name == "cpu"
    assert found.processors[0].precisions == (Precision.F32,)
    assert len({processor.name for processor in found.processors}) == len(found.processors)


def test_the_runtime_is_named_by_its_distribution_and_version() -> None:
    name, version = discover().runtime.split(" ")
    assert name in discovery.runtime_distributions()
    assert version == ort.__version__


def test_a_discovery_is_made_once_per_process() -> None:
    assert discover() is discover()


def test_a_missing_processor_lists_the_known_and_why_others_are_not_usable() -> None:
    found = discover()
    with pytest.raises(MissingProcessorError, match="no processor 'npu:x' here; known: cpu") as caught:
        found.get("npu:x")
    assert all(item.reason in str(caught.value) for item in found.broken)


@pytest.mark.openvino
def test_openvinos_precisions_are_those_that_work_by_effect(openvino: Processor) -> None:
    assert openvino.precisions[0] is Precision.F32
    assert openvino.vendor


def found_with(monkeypatch: pytest.MonkeyPatch, answers: list[Answer] | str, request: Request = SOME) -> Discovery:
    monkeypatch.setattr(discovery, "_plugin_requests", lambda _broken: [request])
    monkeypatch.setattr(discovery, "ask", lambda requests: [[]] * (len(requests) - 1) + [answers])
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    return discover()


def test_devices_become_processors_with_ordinals(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    answers = [Answer(device="gpu", precisions=("f32", "f16")), Answer(device="gpu", ordinal=1, precisions=("f32",))]
    found = found_with(monkeypatch, answers)
    assert [processor.name for processor in found.processors] == ["cpu", "some:gpu", "some:gpu1"]
    assert found.get("some:gpu").precisions == (Precision.F32, Precision.F16)
    assert (found.get("some:gpu1").ordinal, found.get("some:gpu1").library) == (1, "/x/libsome.so")
    assert not found.broken


def test_a_crashing_plugin_is_reported_with_a_cure(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    (broken,) = found_with(monkeypatch, "crashes (SIGSEGV while it is tried)").broken
    assert (broken.name, broken.reason) == ("onnxruntime-ep-some", "crashes (SIGSEGV while it is tried)")
    assert "pip install --upgrade onnxruntime-ep-some" in broken.cure


def test_a_device_that_does_not_work_is_reported(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    found = found_with(
        monkeypatch, [Answer(device="gpu", error="no memory"), Answer(device="npu", precisions=("f32",))]
    )
    assert [processor.name for processor in found.processors] == ["cpu", "some:npu"]
    assert [(item.name, item.reason) for item in found.broken] == [("some:gpu", "no memory")]


@pytest.mark.parametrize(
    ("vendor", "said"), [("AMD", "on this AMD CPU"), ("", "non-Intel CPU"), ("Intel", "no device here")]
)
def test_openvinos_plugin_without_a_device_says_why(
    monkeypatch: pytest.MonkeyPatch, forgetful: None, vendor: str, said: str
) -> None:
    monkeypatch.setattr(discovery, "cpu_vendor", lambda: vendor)
    request = Request(short="openvino", package="onnxruntime-ep-openvino", provider="O", library="/x/libov.so")
    (broken,) = found_with(monkeypatch, [], request).broken
    assert said in broken.reason
    assert ("onnxruntime-openvino" in broken.cure) == (vendor != "Intel")


def test_a_device_that_is_absent_is_named_once_a_provider_that_crashes_always(
    monkeypatch: pytest.MonkeyPatch, forgetful: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(discovery, "cpu_vendor", lambda: "AMD")
    plugin = PluginPackage(package="onnxruntime-ep-openvino", module="json", short="openvino")
    monkeypatch.setattr(plugins, "installed", lambda: (plugin, replace(plugin, package="some", short="some")))
    monkeypatch.setattr(plugins, "provider_name", lambda _plugin: "Provider")
    monkeypatch.setattr(plugins, "library_path", lambda _plugin: "/x/lib.so")
    monkeypatch.setattr(
        discovery, "ask", lambda found: [[] if item.short == "openvino" else "crashes" for item in found]
    )
    absent, crashing = discover(cache=tmp_path).notes
    assert "no device on this AMD CPU" in absent
    assert "autotune processors" in absent
    monkeypatch.setattr(discovery, "_found", {})
    assert discover(cache=tmp_path).notes == (crashing,)


def test_several_builds_of_onnx_runtime_are_a_warning_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    monkeypatch.setattr(discovery, "runtime_distributions", lambda: ("onnxruntime", "onnxruntime-openvino"))
    broken = found_with(monkeypatch, []).broken[0]
    assert "onnxruntime, onnxruntime-openvino" in broken.reason
    assert broken.cure.startswith("pip uninstall -y onnxruntime onnxruntime-openvino && pip install ")


def test_a_package_that_cannot_be_imported_is_reported(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    plugin = PluginPackage(package="onnxruntime-ep-some", module="some_plugin", short="some")
    monkeypatch.setitem(sys.modules, "some_plugin", ModuleType("some_plugin"))  # it has none of the functions
    monkeypatch.setattr(plugins, "installed", lambda: (plugin,))
    broken = next(item for item in discover().broken if item.name == "onnxruntime-ep-some")
    assert "cannot be imported" in broken.reason


def test_what_is_found_is_kept_for_the_same_circumstances(
    monkeypatch: pytest.MonkeyPatch, forgetful: None, tmp_path: Path
) -> None:
    first = discover(cache=tmp_path)

    def never(_requests: list[Request]) -> list[list[Answer] | str]:
        raise AssertionError("asked again")

    monkeypatch.setattr(discovery, "ask", never)
    monkeypatch.setattr(discovery, "_found", {})
    assert discover(cache=tmp_path) == first
    monkeypatch.setattr(discovery, "_found", {})
    monkeypatch.setenv("VK_DRIVER_FILES", "/another/driver.json")
    with pytest.raises(AssertionError, match="asked again"):
        discover(cache=tmp_path)


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_nothing_but_time(forgetful: None, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert discover(cache=blocked / "cache").processors


@posix
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "crashes (SIGSEGV"),
        ("exec sleep 30", "hangs (no answer in 0 s)"),
        ("echo first >&2; echo no driver >&2; exit 3", "no driver"),
        ("exit 7", "ends with exit code 7"),
        ("echo '{}'", "ends with exit code 0"),
    ],
)
def test_what_goes_wrong_in_the_probes_process_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setattr(probing, "PROBE_DEADLINE_S", 0.3)
    (answer,) = ask([SOME])
    assert isinstance(answer, str)
    assert answer.startswith(said)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_library_that_crashes_when_it_is_loaded_takes_only_the_probe_with_it(tmp_path: Path) -> None:
    source, library = tmp_path / "boom.c", tmp_path / "libboom.so"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void boom(void) { abort(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    (answer,) = ask([Request(short="some", package="p", provider="SomeExecutionProvider", library=str(library))])
    assert answer == "crashes (SIGABRT while it is tried)"


def test_a_library_that_is_none_is_said(tmp_path: Path) -> None:
    library = tmp_path / "libnone.so"
    library.write_text("no library")
    (answer,) = ask([Request(short="some", package="p", provider="SomeExecutionProvider", library=str(library))])
    assert isinstance(answer, str)
    assert "libnone.so" in answer
