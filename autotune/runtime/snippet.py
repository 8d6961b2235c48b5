"""The few lines of Python that run an exported plan with plain ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.errors import PlanError

_STAGES = """\
{to_do}import json, pathlib, onnxruntime as ort
{register}config = json.loads(pathlib.Path({path!r}).read_text())
def open_session(stage):
    options, given = ort.SessionOptions(), stage["sessions"][0]
    options.intra_op_num_threads = given["intra_op_num_threads"]
    for name, value in given["session_config"].items():
        options.add_session_config_entry(name, value)
{choose}

def run(feeds):  # {feeds}
    tensors = dict(feeds)
    for stage, session in zip(config["stages"], sessions):
        found = session.run(stage["outputs"], {{name: tensors[name] for name in stage["inputs"]}})
        tensors |= zip(stage["outputs"], found)
    return [tensors[name] for name in config["outputs"]]

sessions = [open_session(stage) for stage in config["stages"]]
outputs = run(feeds)
"""
_BUILTIN = """\
    providers = [(given["provider"], given["provider_options"])]
    return ort.InferenceSession({folder!r} + "/" + stage["file"], options, providers=providers)"""
_PLUGIN = """\
    kind = getattr(ort.OrtHardwareDeviceType, given["device"].upper())
    found = [item for item in ort.get_ep_devices() if item.ep_name == given["provider"] and item.device.type == kind]
    options.add_provider_for_devices([found[given["device_ordinal"]]], given["provider_options"])
    return ort.InferenceSession({folder!r} + "/" + stage["file"], options)"""


def python_snippet(path: str | Path) -> str:
    """Lines of Python that run an exported plan; they expect `feeds`, arrays by input name, and give `outputs`.

    They open one session per stage and call it from one thread; comments say what the plan does beyond that.

    Args:
        path: `ort-config.json`.

    Raises:
        PlanError: it cannot be read.
    """
    place = Path(path).absolute()
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
        stages = config["stages"]
        feeds = ", ".join(f"{item['name']!r}: {item['type']} {item['shape']}" for item in config["inputs"])
        feeds = f"feeds = {{{feeds}}}"
        if not stages:
            raise ValueError("it has no stages")
        to_do = _comments(config["to_do"])
        if len(stages) == 1:
            return to_do + _single(place.parent, config, stages[0], feeds)
        given = [stage["sessions"][0] for stage in stages]
        plugins = {one["provider"]: one["plugin_library"] for one in given if _is_plugin(one)}
        choose = (_PLUGIN if plugins else _BUILTIN).format(folder=str(place.parent))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise PlanError(f"{place} is no exported plan ({error}): export it again") from error
    register = "".join(f"ort.register_execution_provider_library({name!r}, {at!r})\n" for name, at in plugins.items())
    return _STAGES.format(to_do=to_do, register=register, path=str(place), choose=choose, feeds=feeds)


def example_feeds(path: str | Path) -> str:
    """Lines of Python that make inputs of zeros for what `python_snippet` gives, to be replaced by real ones.

    Args:
        path: `ort-config.json`.
    """
    inputs = json.loads(Path(path).read_text(encoding="utf-8"))["inputs"]
    made = ", ".join(f"{item['name']!r}: {_zeros(item['type'], tuple(item['shape']))}" for item in inputs)
    return f"import numpy as np\nfeeds = {{{made}}}  # put your inputs here\n"


def _zeros(dtype: str, shape: tuple[int, ...]) -> str:
    return f"np.full({shape}, '', object)" if dtype == "string" else f"np.zeros({shape}, {dtype!r})"


def _comments(to_do: Sequence[str]) -> str:
    lines = [f"#   {text}\n" for text in to_do]
    return "".join(["# What these lines leave out (ort-config.json has it for each stage):\n", *lines]) if lines else ""


def _is_plugin(session: Mapping[str, Any]) -> bool:
    return bool(session["registration"] == "plugin")


def _single(folder: Path, config: Mapping[str, Any], stage: Mapping[str, Any], feeds: str) -> str:
    """Everything literal, to be pasted as it is."""
    given = stage["sessions"][0]
    lines = ["import onnxruntime as ort", "options = ort.SessionOptions()"]
    if given["intra_op_num_threads"]:
        lines.append(f"options.intra_op_num_threads = {given['intra_op_num_threads']}")
    lines += [f"options.add_session_config_entry({k!r}, {v!r})" for k, v in given["session_config"].items()]
    model = str(folder / stage["file"])
    provider, options = given["provider"], given["provider_options"]
    if _is_plugin(given):
        kind, at = f"ort.OrtHardwareDeviceType.{given['device'].upper()}", given["device_ordinal"]
        lines += [
            f"ort.register_execution_provider_library({provider!r}, {given['plugin_library']!r})",
            f"found = [d for d in ort.get_ep_devices() if d.ep_name == {provider!r} and d.device.type == {kind}]",
            f"options.add_provider_for_devices([found[{at}]], {options!r})",
            f"session = ort.InferenceSession({model!r}, options)",
        ]
    else:
        lines.append(f"session = ort.InferenceSession({model!r}, options, providers=[({provider!r}, {options!r})])")
    lines.append(f"outputs = session.run({config['outputs']!r}, feeds)  # {feeds}")
    return "\n".join(lines) + "\n"
