"""Names become processors without trying them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import onnxruntime as ort
import pytest

from autotune.core import Processor
from autotune.errors import MissingProcessorError, SessionError
from autotune.processors import SessionSpec, create_session, discover, plugins, resolve, resolving
from autotune.processors.resolving import locate


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


PLUGIN = plugins.PluginPackage(package="some-ep", module="some_ep", short="some")


def test_a_plugin_that_cannot_be_loaded_is_a_missing_processor(
    forgetful: None, some_plugin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: str) -> None:
        raise RuntimeError("undefined symbol")

    monkeypatch.setattr(plugins, "register", broken)
    with pytest.raises(MissingProcessorError, match=r"some-ep cannot be loaded \(undefined symbol\)"):
        resolve("some:gpu")


@pytest.fixture
def some_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that brings the provider `Some` for a GPU."""
    monkeypatch.setattr(plugins, "installed", lambda: (PLUGIN,))
    monkeypatch.setattr(plugins, "provider_name", lambda _: "Some")
    monkeypatch.setattr(plugins, "library_path", lambda _: "/lib/some.so")
    monkeypatch.setattr(plugins, "register", lambda *_: None)
    monkeypatch.setattr(plugins, "devices", lambda _: ["item"])
    monkeypatch.setattr(plugins, "device_kind", lambda _: "gpu")


def test_a_users_provider_is_found_in_its_plugin(some_plugin: None) -> None:
    found = locate(SessionSpec(provider="Some", provider_options=(("a", "1"),), intra_op_threads=2))
    assert (found.registration, found.library, found.device) == ("plugin", "/lib/some.so", "gpu")
    assert (found.provider_options, found.intra_op_threads) == ((("a", "1"),), 2)


def test_a_users_device_type_chooses_the_plugins_device(some_plugin: None) -> None:
    found = locate(SessionSpec(provider="Some", provider_options=(("device_type", "NPU"),)))
    assert (found.device, found.provider_options) == ("npu", ())


def test_a_plugin_that_cannot_be_registered_is_an_error_of_the_session(
    some_plugin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> None:
        raise RuntimeError("undefined symbol")

    monkeypatch.setattr(plugins, "register", fail)
    with pytest.raises(SessionError, match="library of Some cannot be registered: undefined symbol"):
        locate(SessionSpec(provider="Some"))


def test_a_plugin_stays_one_once_onnx_runtime_lists_its_provider(
    forgetful: None, some_plugin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [
        SimpleNamespace(ep_name="CPUExecutionProvider", ep_metadata={}),
        SimpleNamespace(ep_name="Some", ep_metadata={"library_path": "/lib/some.so"}),
    ]
    monkeypatch.setattr(ort, "get_ep_devices", lambda: items)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider", "Some"])
    assert plugins.built_in() == ["CPUExecutionProvider"]
    assert locate(SessionSpec(provider="Some")).registration == "plugin"


def test_a_library_that_the_program_has_registered_is_not_registered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    item = SimpleNamespace(ep_name="Some", ep_metadata={"library_path": "/lib/some.so"})
    monkeypatch.setattr(ort, "get_ep_devices", lambda: [item])
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda *_: pytest.fail("registered"))
    monkeypatch.setattr(plugins, "_registered", set())
    plugins.register("Some", "/lib/some.so")


def test_a_process_opens_several_lanes_of_a_plugin(openvino: Processor) -> None:
    lanes = [f"{openvino.name}/{precision}/t{threads}" for precision in openvino.precisions for threads in (1, 2)]
    script = (
        "from autotune.core import Lane; from autotune.processors import create_session;"
        "from autotune.processors.probe_model import probe_model;"
        f"print([create_session(probe_model(), Lane.parse(text)).get_providers()[0] for text in {lanes!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.count(openvino.provider) == len(lanes), done.stderr[-2000:]


def test_a_provider_that_is_built_in_stays_as_it_is(some_plugin: None) -> None:
    spec = SessionSpec(provider="CPUExecutionProvider")
    assert locate(spec) == spec


def test_a_provider_that_is_nowhere_lists_the_known(model: bytes) -> None:
    with pytest.raises(MissingProcessorError, match=r"has no NoSuchProvider; it has .*CPUExecutionProvider"):
        create_session(model, SessionSpec(provider="NoSuchProvider"))
