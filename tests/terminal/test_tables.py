"""What a result looks like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from autotune.api import ContentionResult
from autotune.api.contention import LanePairSlowdown
from autotune.core import Baseline, Candidate, Lane, OutputError, StageChoice, Timing
from autotune.terminal.listing import print_contention
from autotune.terminal.tables import baseline_table, curve_line, figure, table_notes
from tests.runtime.conftest import make_plan

EXACT = OutputError(relative_rms=0.0, max_abs=0.0)


def baseline(name: str, p50_us: float) -> Baseline:
    lane = Lane.parse(name.removeprefix("single:"))
    timing = Timing(p50_us=p50_us, p90_us=p50_us, p99_us=p50_us, throughput_per_s=1e6 / p50_us)
    candidate = Candidate(stages=(StageChoice(start=0, stop=5, lane=lane),))
    return Baseline(name=name, candidate=candidate, measured=timing, error=EXACT, feasible=True)


def shown(*launched: str, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False, record=True)
    plan = replace(make_plan(), baselines=(baseline("single:cpu/f32/t1", 900.0), baseline("single:cpu/f32/t2", 1000.0)))
    with console.capture() as capture:
        console.print(baseline_table(plan, launched), *table_notes(plan, launched))
    return capture.get()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123"),
        (1.0, "1.00"),
        (16.0, "16.0"),
        (99.97, "100.0"),
        (152.4, "152"),
        (12345.6, "12346"),
        (0, "0"),
    ],
)
def test_figures_line_up_and_have_no_exponent(value: float, text: str) -> None:
    assert figure(value) == text


def test_figures_of_a_first_look_are_not_taken_for_the_others() -> None:
    lines = shown("single:cpu/f32/t2").splitlines()
    (rough,) = (line for line in lines if "cpu/f32/t1" in line)
    (firm,) = (line for line in lines if "cpu/f32/t2" in line)
    assert rough.rstrip().endswith("screened")
    assert "screened" not in firm


def test_the_curve_says_what_a_looser_tolerance_buys() -> None:
    assert (
        curve_line([(1e-3, 8000.0), (1e-2, 4000.0)]) == "predicted at other tolerances: 0.001: 8.00 ms, 0.01: 4.00 ms"
    )
    same = curve_line([(1e-4, 8000.2), (1e-3, 8000.1), (1e-2, 8000.0)])
    assert same == "another tolerance buys nothing: 8.00 ms predicted from 0.0001 to 0.01"


def test_where_everything_was_only_screened_no_row_is_marked() -> None:
    assert "screened" not in shown()


def test_a_narrow_terminal_wraps_names_and_keeps_every_figure() -> None:
    narrow = shown("single:cpu/f32/t2", width=48)
    assert "p90 ms" in narrow
    assert "…" not in narrow


def test_contention_is_a_row_per_pair_of_lanes_in_each_direction(capsys: pytest.CaptureFixture[str]) -> None:
    pair = LanePairSlowdown(
        lane="cpu/f32/t1/c0", beside="cpu/f32/t1/c1", known=3, measured=4, failed=1, median=1.234, low=1.0, high=1.5
    )  # fmt: skip
    result = ContentionResult(
        device="d",
        store="s",
        models=("yolo",),
        pairs=(pair, replace(pair, beside="webgpu:gpu/f32", median=None, low=None, high=None)),
        records=7,
        accuracy=(),
        seconds=1.0,
        warnings=("it was noisy",),
    )
    print_contention(result)
    text = capsys.readouterr().out
    assert "1.23x" in text
    assert "webgpu:gpu/f32" in text
    assert "median error" not in text
    assert "note: it was noisy" in text
