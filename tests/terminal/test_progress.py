"""Progress on a terminal of ordinary width."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.progress import Progress

from autotune.terminal.progress import ProgressBars, bar_columns


def test_a_long_text_leaves_room_for_the_bar_and_the_time() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with Progress(*bar_columns(), console=console, expand=True) as progress:
        ProgressBars(progress).progress("baselines", 5, 10, text="[single]:" + "cpu/f32/t2/nospin, " * 9)
    drawn = [line for line in re.split(r"[\r\n]", out.getvalue()) if "baselines" in line][-1]
    assert re.search(r"baselines  ━{9,}.* \d:\d\d:\d\d \[single\]:cpu.*…", drawn), drawn
