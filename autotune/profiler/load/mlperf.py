"""MLPerf's own load generator (`pip install onnx-autotune[loadgen]`). Short runs; never MLPerf results."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

from autotune.core import Scenario
from autotune.errors import MeasurementError, UsageError
from autotune.profiler.load.values import Issue, Load, LoadReport

PERCENTILES = ("50.00", "90.00", "99.00")
SAMPLES_IN_MEMORY = 1024
_ONE_AT_A_TIME = threading.Lock()
"""LoadGen keeps its state in globals."""


class MlperfGenerator:
    """LoadGen, told by its settings to issue exactly as many queries as asked for.

    Raises:
        UsageError: LoadGen is not installed.
    """

    name = "loadgen"

    def __init__(self) -> None:
        try:
            import mlperf_loadgen
        except ImportError as error:
            raise UsageError("LoadGen is not installed: pip install mlcommons-loadgen") from error
        self._loadgen: ModuleType = mlperf_loadgen

    def drive(self, issue: Issue, load: Load) -> LoadReport:
        """Runs a load to its end.

        Raises:
            MeasurementError: an inference failed, or LoadGen left no result.
        """
        target = Target(self._loadgen, issue)
        with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="autotune-loadgen-") as folder:
            self._start(target, load, folder)
            if target.failure is not None:
                raise MeasurementError(f"an inference under load failed: {target.failure}") from target.failure
            return _read(Path(folder) / "mlperf_log_detail.txt", load, self.name)

    def _start(self, target: Target, load: Load, folder: str) -> None:
        loadgen = self._loadgen
        logs, output = loadgen.LogSettings(), loadgen.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        logs.log_output, logs.enable_trace = output, False
        sut = loadgen.ConstructSUT(target.issue, lambda: None)
        library = loadgen.ConstructQSL(SAMPLES_IN_MEMORY, SAMPLES_IN_MEMORY, lambda _: None, lambda _: None)
        try:
            no_audit = str(Path(folder) / "no-audit.config")
            loadgen.StartTestWithLogSettings(sut, library, self._settings(load), logs, no_audit)
        finally:
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(sut)

    def _settings(self, load: Load) -> Any:
        settings = self._loadgen.TestSettings()
        settings.scenario = getattr(self._loadgen.TestScenario, load.scenario.value)
        settings.mode = self._loadgen.TestMode.PerformanceOnly
        settings.min_query_count = settings.max_query_count = load.queries
        settings.min_duration_ms = 0
        settings.multi_stream_samples_per_query = load.samples_per_query
        settings.offline_expected_qps = 1.0
        settings.schedule_rng_seed = load.seed
        if load.scenario is Scenario.SERVER:
            settings.server_target_qps = load.rate_per_s
        return settings


class Target:
    """What LoadGen calls; an exception must not reach its C++, so the sample ends and the failure is kept."""

    def __init__(self, loadgen: ModuleType, issue: Issue) -> None:
        self._loadgen, self._issue = loadgen, issue
        self.failure: BaseException | None = None

    def issue(self, samples: list[Any]) -> None:
        """Starts what LoadGen asks for."""
        for sample in samples:
            if self.failure is not None:
                self._complete(sample.id)
                continue
            try:
                future = self._issue(sample.index)
            except Exception as error:  # noqa: BLE001 - the edge of foreign code; raised when LoadGen has ended
                self.failure = error
                self._complete(sample.id)
                continue
            future.add_done_callback(self._ender(sample.id))

    def _ender(self, number: int) -> Callable[[Future[Any]], None]:
        def end(done: Future[Any]) -> None:
            error = MeasurementError("it was cancelled") if done.cancelled() else done.exception()
            if error is not None:  # before LoadGen knows, which may end at once
                self.failure = error
            self._complete(number)

        return end

    def _complete(self, number: int) -> None:
        self._loadgen.QuerySamplesComplete([self._loadgen.QuerySampleResponse(number, 0, 0)])


def _read(path: Path, load: Load, name: str) -> LoadReport:
    """The report from LoadGen's detailed log: one JSON object a line, behind a mark."""
    found: dict[str, Any] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise MeasurementError(f"LoadGen left no log: {error}") from error
    for line in lines:
        entry = json.loads(line.removeprefix(":::MLLOG "))
        found[entry["key"]] = entry["value"]
    middle = "percentile_per_query_latency_ns" if load.scenario is Scenario.MULTI_STREAM else "percentile_latency_ns"
    try:
        p50, p90, p99 = (found[f"result_{share}_{middle}"] / 1e3 for share in PERCENTILES)
        throughput = _throughput(found, load)
    except KeyError as error:
        raise MeasurementError(f"LoadGen's log has no {error}") from error
    return LoadReport(load=load, generator=name, p50_us=p50, p90_us=p90, p99_us=p99, throughput_per_s=throughput)


def _throughput(found: dict[str, Any], load: Load) -> float:
    """Samples per second, which LoadGen reports by another name in each scenario."""
    match load.scenario:
        case Scenario.OFFLINE:
            return float(found["result_samples_per_second"])
        case Scenario.SERVER:
            return float(found["result_completed_samples_per_sec"])
        case Scenario.SINGLE_STREAM:
            return float(found["result_qps_with_loadgen_overhead"])
        case Scenario.MULTI_STREAM:
            return 1e9 * load.samples_per_query / float(found["result_mean_query_latency_ns"])
