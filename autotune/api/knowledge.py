"""What the search knows of costs, and the cost tables that follow."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotune.api.calibration import SegmentTimes, calibrate
from autotune.api.run import Run
from autotune.core import Lane
from autotune.planning import CostTable, ErrorModel, Setting, build_table
from autotune.planning.costs import Floats, LaneCost


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """What is known of the model's costs on this device.

    Args:
        settings: callers and batch of each table.
        lanes: lanes of each setting.
        kernel_us: [K] marginal cost by lane (measured where known, else predicted).
        stage_cost: entry and exit by lane, before calibration.
        segments: measured segments by setting and lane.
        errors: squared output error by kernel and lane.
        overhead: correction of what cuts cost, learned from verified plans.
        changes_us: measured cost of changing from one processor to another beyond entry and exit, by setting.
    """

    settings: list[Setting]
    lanes: dict[Setting, tuple[Lane, ...]]
    kernel_us: dict[Lane, Floats]
    stage_cost: dict[Lane, LaneCost]
    segments: dict[tuple[Setting, Lane], SegmentTimes]
    errors: ErrorModel
    overhead: float = 1.0
    changes_us: dict[Setting, dict[tuple[str, str], float]] = field(default_factory=dict)

    def tables(self, run: Run, *, low_precision: bool) -> list[CostTable]:
        """One cost table per setting, calibrated on the measured segments."""
        graph = run.task.graph
        model_bytes = (sum(t.bytes for t in graph.inputs), sum(t.bytes for t in graph.outputs))
        tables = []
        for setting in self.settings:
            kernel_us, costs = {}, {}
            for lane in self.lanes[setting]:
                if not (low_precision or lane.precision.is_reference):
                    continue
                kernel_us[lane], costs[lane] = calibrate(
                    self.kernel_us[lane],
                    self.stage_cost[lane],
                    self.segments.get((setting, lane)),
                    cuts=graph.cuts,
                    model_bytes=model_bytes,
                    overhead=self.overhead,
                )
            if kernel_us:
                tables.append(
                    build_table(
                        setting=setting,
                        kernel_us=kernel_us,
                        lane_costs=costs,
                        cuts=graph.cuts,
                        model_bytes=model_bytes,
                        error=self.errors.tables(tuple(kernel_us)),
                        parts=len(self.errors.parts),
                        change_us={pair: us * self.overhead for pair, us in self.changes_us.get(setting, {}).items()},
                    )
                )
        return tables
