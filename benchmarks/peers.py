"""Other tools on the same model: OpenVINO's `benchmark_app` with its hints, Olive's tuning of session options."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.core import Failure, FailureKind, Measurement, Scenario, TensorSpec
from autotune.processors import SessionSpec

LATENCY, THROUGHPUT = "latency", "throughput"
STARTING_S = 120.0
"""Seconds that benchmark_app may take beside those that it was asked for."""
TUNING_S = 300.0
QUIET = os.environ | {"OLIVE_DISABLE_TELEMETRY": "1"}


def hint_of(scenario: Scenario) -> str:
    """Which of OpenVINO's hints is for it."""
    return LATENCY if scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM) else THROUGHPUT


def benchmark_app(app: str, model: Path, hint: str, *, precision: str, seconds: float) -> Measurement | Failure:
    """One launch: µs of a request with the hint for latency, µs per sample with that for throughput.

    Args:
        app: path of the program.
        model: ONNX file with fixed shapes.
        hint: `latency` or `throughput`.
        precision: that it computes in; what OpenVINO takes by itself can be below float32.
        seconds: of measuring.
    """
    command = [app, "-m", str(model), "-d", "CPU", "-hint", hint, "-t", f"{seconds:g}", "-infer_precision", precision]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + STARTING_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Failure(kind=FailureKind.ERROR, message=f"benchmark_app: {type(error).__name__}")
    median = re.search(r"Median:\s+([\d.]+)\s*ms", done.stdout)
    rate = re.search(r"Throughput:\s+([\d.]+)\s*FPS", done.stdout)
    if done.returncode or median is None or rate is None:
        said = _last_line(done.stderr or done.stdout)
        return Failure(kind=FailureKind.ERROR, message=f"benchmark_app ended with {done.returncode}: {said}")
    return Measurement(samples_us=(float(median[1]) * 1e3 if hint == LATENCY else 1e6 / float(rate[1]),))


def _last_line(text: str) -> str:
    """What a failed program said in the end: the error, without the traceback's paths."""
    return text.strip().rpartition("\n")[2][-300:]


def olive(python: str, model: Path, inputs: Sequence[TensorSpec], *, threads: Sequence[int]) -> SessionSpec | Failure:
    """Session options that Olive's OrtSessionParamsTuning chooses for ONNX Runtime's CPU provider.

    Args:
        python: interpreter of an environment with `olive-ai` and ONNX Runtime.
        model: ONNX file with fixed shapes.
        inputs: of the model; Olive takes ones of that shape.
        threads: numbers of threads to choose from, each with both execution modes.
    """
    with tempfile.TemporaryDirectory() as folder:
        workflow, chosen = Path(folder) / "workflow.json", Path(folder) / "chosen.json"
        workflow.write_text(json.dumps(_workflow(model, inputs, threads, folder)))
        command = [python, str(Path(__file__).parent / "olive_tuning.py"), str(workflow), str(chosen)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TUNING_S, check=False, cwd=folder, env=QUIET
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Failure(kind=FailureKind.ERROR, message=f"Olive: {type(error).__name__}")
        if done.returncode or not chosen.exists():
            said = _last_line(done.stderr or done.stdout)
            return Failure(kind=FailureKind.ERROR, message=f"Olive ended with {done.returncode}: {said}")
        found = json.loads(chosen.read_text())
    options = found.get("session_options") or {}
    spec: dict[str, Any] = {"providers": ["CPUExecutionProvider"]}
    spec |= {key: options[key] for key in ("intra_op_num_threads", "inter_op_num_threads") if options.get(key)}
    spec |= {"execution_mode": "parallel" if options.get("execution_mode") == 1 else "sequential"}
    return SessionSpec.from_json(spec)


def _workflow(model: Path, inputs: Sequence[TensorSpec], threads: Sequence[int], folder: str) -> dict[str, Any]:
    data = {
        "type": "dummy_dataset",
        "input_shapes": [list(spec.shape or ()) for spec in inputs],
        "input_names": [spec.name for spec in inputs],
        "input_types": [spec.dtype for spec in inputs],
        "max_samples": 1,
    }
    latency = {
        "name": "latency",
        "type": "latency",
        "data_config": "inputs",
        "sub_types": [{"name": "avg", "priority": 1, "higher_is_better": False}],
    }
    cpu = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(model)},
        "systems": {"local_system": {"type": "LocalSystem", "accelerators": [cpu]}},
        "data_configs": [{"name": "inputs", "type": "DummyDataContainer", "load_dataset_config": data}],
        "evaluators": {"latency": {"type": "OnnxEvaluator", "metrics": [latency]}},  # 0.13 fails without a type
        "passes": {
            "tuning": {
                "type": "OrtSessionParamsTuning",
                "data_config": "inputs",
                "intra_thread_num_list": _choices(threads),
                "execution_mode_list": _choices((0, 1)),
            }
        },
        "search_strategy": {"execution_order": "joint", "sampler": "sequential"},
        "evaluator": "latency",
        "host": "local_system",
        "target": "local_system",
        "cache_dir": folder,
        "output_dir": folder,
    }


def _choices(values: Sequence[int]) -> dict[str, Any]:
    return {"olive_parameter_type": "SearchParameter", "type": "Categorical", "support": list(values)}
