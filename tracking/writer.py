"""Events of one search as MLflow runs: parameters, metrics, nested runs, artifacts, registered predictors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autotune.tracking.destination import Destination
from autotune.tracking.events import Event, flatten
from autotune.tracking.plots import save_predicted_against_measured
from autotune.tracking.registry import register_predictor, use_predictor

EXPERIMENT = "autotune"
SOURCE = {"mlflow.source.name": "autotune", "mlflow.source.type": "LOCAL"}
"""Tags that MLflow's own calls would set, shown as columns of its table."""
MAX_ARTIFACT_BYTES = 50 * 2**20


class RunWriter:
    """Writes the events of one search, in order, to one run.

    Args:
        client: an `MlflowClient`.
        destination: where new experiments put their files.
        run_id: the run to go on with; empty starts one with the first event that needs it.
    """

    def __init__(self, client: Any, destination: Destination, *, run_id: str = "") -> None:
        self._client = client
        self._destination = destination
        self.run_id = run_id
        self.is_open = bool(run_id)
        self._device = ""
        self._is_search = False
        self._pairs: list[tuple[str, float, float]] = []
        self._handlers: Mapping[str, Callable[[Event], None]] = {
            "search_started": self._search_started,
            "metrics": self._metrics,
            "baseline": self._nested,
            "candidate": self._nested,
            "front": self._nested,
            "predictor": self._predictor,
            "predictor_in_use": self._predictor_in_use,
            "plan": self._plan,
            "search_finished": self._search_finished,
        }

    def remember(self, event: Event) -> None:
        """Takes note of an event that an earlier writer of this run has already written."""
        if event.name == "search_started":
            self._is_search = True
            self._device = _device_id(event.fields)
        if event.name == "candidate":
            predicted, measured = event.fields.get("predicted_ms"), event.fields.get("p50_ms")
            if isinstance(predicted, (int, float)) and isinstance(measured, (int, float)):
                self._pairs.append((str(event.fields.get("name", "")), float(predicted), float(measured)))
        if event.name == "search_finished":
            self.is_open = False

    def write(self, event: Event) -> None:
        """Writes one event; names that it does not know are left out.

        Raises:
            Exception: whatever MLflow raises.
        """
        handler = self._handlers.get(event.name)
        if handler is not None:
            handler(event)
        self.remember(event)

    def end(self, status: str, *, time_ms: int) -> None:
        """Ends a run that is still open: a search with `status` (`FAILED`, `KILLED`), a training alone as finished."""
        if self.is_open:
            status = status if self._is_search else "FINISHED"
            self._client.set_terminated(self.run_id, status=status, end_time=time_ms)
            self.is_open = False

    def _start(self, name: str, event: Event) -> None:
        run = self._client.create_run(self._experiment(), start_time=event.time_ms, run_name=name, tags=SOURCE)
        self.run_id = run.info.run_id
        self.is_open = True

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            location = self._destination.artifacts or None
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=location))
        if known.lifecycle_stage != "active":
            self._client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    def _log(
        self, run_id: str, event: Event, numbers: Mapping[str, float], params: Mapping[str, str], step: int = 0
    ) -> None:
        from mlflow.entities import Metric, Param

        metrics = [Metric(name, value, event.time_ms, step) for name, value in numbers.items()]
        self._client.log_batch(run_id, metrics=metrics, params=[Param(k, v) for k, v in params.items() if v])

    def _search_started(self, event: Event) -> None:
        fields = dict(event.fields)
        self._start(f"{fields.get('model', 'model')} {fields.get('scenario', '')}".strip(), event)
        numbers, texts = flatten(fields)
        self._log(self.run_id, event, {}, texts | {name: f"{value:g}" for name, value in numbers.items()})

    def _metrics(self, event: Event) -> None:
        self._needs_run(event)
        fields = dict(event.fields)
        step = int(fields.pop("step", 0))
        self._log(self.run_id, event, flatten(fields)[0], {}, step)

    def _nested(self, event: Event) -> None:
        self._needs_run(event)
        label = event.fields.get("name") or event.fields.get("hash") or ""
        run = self._client.create_run(
            self._experiment(),
            start_time=event.time_ms,
            run_name=f"{event.name} {label}".strip(),
            tags=SOURCE | {"mlflow.parentRunId": self.run_id, "autotune.kind": event.name},
        )
        numbers, texts = flatten(event.fields)
        self._log(run.info.run_id, event, numbers, texts)
        self._client.set_terminated(run.info.run_id, end_time=event.time_ms)

    def _predictor(self, event: Event) -> None:
        if not self.run_id:
            self._start("retrain", event)
        numbers, _ = flatten({"predictor": event.fields.get("accuracy") or {}})
        self._log(self.run_id, event, numbers, {})
        device = _device_id(event.fields) or self._device or "unknown"
        register_predictor(self._client, self.run_id, event.fields, device=device)

    def _predictor_in_use(self, event: Event) -> None:
        use_predictor(self._client, str(event.fields.get("version", "")), device=_device_id(event.fields))

    def _plan(self, event: Event) -> None:
        self._needs_run(event)
        fields = dict(event.fields)
        if fields.get("summary"):
            self._client.set_tag(self.run_id, "mlflow.note.content", str(fields.pop("summary")))
        folder = Path(str(fields.pop("folder", "")))
        numbers, texts = flatten(fields)
        self._log(self.run_id, event, numbers, {})
        for name, value in (texts | {"plan.folder": str(folder)}).items():
            self._client.set_tag(self.run_id, name, value)
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and path.stat().st_size < MAX_ARTIFACT_BYTES:
                inside = path.relative_to(folder).parent
                self._client.log_artifact(self.run_id, str(path), (Path("plan") / inside).as_posix())

    def _search_finished(self, event: Event) -> None:
        self._needs_run(event)
        numbers, _ = flatten({"seconds": event.fields.get("seconds") or {}})
        self._log(self.run_id, event, numbers, {})
        with tempfile.TemporaryDirectory(prefix="autotune-tracking-") as folder:
            figure = Path(folder) / "predicted_against_measured.png"
            if save_predicted_against_measured(self._pairs, figure):
                self._client.log_artifact(self.run_id, str(figure), "plots")
        status = "KILLED" if event.fields.get("interrupted") else "FINISHED"
        self._client.set_terminated(self.run_id, status=status, end_time=event.time_ms)

    def _needs_run(self, event: Event) -> None:
        if not self.run_id:
            self._start("autotune", event)


def _device_id(fields: Mapping[str, Any]) -> str:
    device = fields.get("device")
    return str(device.get("id", "")) if isinstance(device, dict) else str(device or "")
