"""From candidates to jobs: extracts stages once, and measures on the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.core import Candidate, Lane, Scenario
from autotune.graph import Graph, StageFile, extract
from autotune.planning.stage_files import write_stages
from autotune.profiler import Job, JobStage


class Bench:
    """The files and inputs with which candidates of one model are run.

    Args:
        graph: the model.
        work: folder for stage files.
        feeds: npz with one sample.
        scenario: how requests arrive.
    """

    def __init__(self, graph: Graph, *, work: Path, feeds: Path, scenario: Scenario) -> None:
        self.graph = graph
        self.scenario = scenario
        self.feeds = feeds
        self.outputs = tuple(tensor.name for tensor in graph.outputs)
        self._work = work
        self._files: dict[tuple[int, int], StageFile] = {}
        self._batched: dict[int, Graph] = {1: graph}

    def batched(self, size: int) -> Graph:
        """The model at a batch `size`; ModelError where it has none."""
        if size not in self._batched:
            self._batched[size] = self.graph.batched(size)
        return self._batched[size]

    def files(self, ranges: Sequence[tuple[int, int]]) -> list[StageFile]:
        """One ONNX file per range of kernels; written once."""
        missing = [span for span in dict.fromkeys(ranges) if span not in self._files]
        if missing:
            for span, file in zip(missing, extract(self.graph, missing, self._work), strict=True):
                self._files[span] = file
        return [self._files[span] for span in ranges]

    def job(self, candidate: Candidate, name: str) -> Job:
        """The job that times a candidate as its user pays for it: host arrays in, host arrays out."""
        return Job(
            name=name,
            stages=self._stages(candidate),
            outputs=self.outputs,
            feeds=str(self.feeds),
            callers=candidate.callers,
            batch=candidate.batch,
            scenario=self.scenario,
        )

    def _stages(self, candidate: Candidate) -> tuple[JobStage, ...]:
        if candidate.is_single_lane:
            return (JobStage(file=str(self.batched(candidate.batch).path), lane=candidate.stages[0].lane),)
        if not candidate.stages_are_runs:
            written = write_stages(self.graph, candidate, self._work / candidate.hash)
            return tuple(JobStage(file=str(stage.path), lane=stage.choice.lane) for stage in written)
        files = self.files([(stage.start, stage.stop) for stage in candidate.stages])
        return tuple(
            JobStage(file=str(file.path), lane=stage.lane) for file, stage in zip(files, candidate.stages, strict=True)
        )

    def chain_job(self, files: Sequence[StageFile], lanes: Sequence[Lane], *, callers: int) -> Job:
        """The job that runs the model in these stages, on these lanes in turns."""
        turns = [lanes[at % len(lanes)] for at in range(len(files))]
        return Job(
            name=f"{len(files)} stages {' and '.join(map(str, lanes))}",
            stages=tuple(JobStage(file=str(file.path), lane=lane) for file, lane in zip(files, turns, strict=True)),
            outputs=self.outputs,
            feeds=str(self.feeds),
            callers=callers,
            scenario=self.scenario,
        )
