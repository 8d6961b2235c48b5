"""Recorded devices: what is read, what is refused, and the importer of HOPE's tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from autotune.api.recorded import search_recorded
from autotune.cli import app
from autotune.datasets.hope import import_hope
from autotune.datasets.recorded import read_recorded
from autotune.errors import InputError, SchemaVersionError, UnknownNameError, UsageError

KERNELS = """model,kernel,predecessors,output_bytes,latency cpu,latency gpu
net,a,,400,2,3
net,b,a,400,5,9
net,c,a,400,9,5
net,d,b;c,400,2,
"""
TRANSFERS = "from,to,bytes,latency\ncpu,gpu,400,1\ncpu,gpu,800,2\ngpu,cpu,400,1\ngpu,cpu,800,3\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "device.json").write_text(json.dumps({"schema_version": 1, "name": "phone", "unit": "ms"}))
    (tmp_path / "kernels.csv").write_text(KERNELS)
    (tmp_path / "transfers.csv").write_text(TRANSFERS)
    return tmp_path


def test_branches_are_shared_out(folder: Path) -> None:
    found = search_recorded(f"recorded:{folder}", "net", seconds=0.3, prove_s=10.0, output=folder / "found.json")
    assert found.placement.schedule.makespan_us == pytest.approx(11_000)
    assert found.optimum_us == pytest.approx(11_000)
    assert found.speedup == pytest.approx(18 / 11)
    written = json.loads((folder / "found.json").read_text())
    assert written == json.loads(json.dumps(found.to_json()))
    assert {kernel["kernel"]: kernel["processor"] for kernel in written["tuned"]["kernels"]}["c"] == "gpu"


def test_the_object_has_the_keys_of_every_search(folder: Path) -> None:
    """What nobody ran or wrote is null or empty; a processor that cannot run every kernel is infeasible."""
    shown = search_recorded(f"recorded:{folder}", "net", seconds=0.1).to_json()
    assert (shown["plan"], shown["mlflow_run_id"], shown["verified"]) == (None, None, [])
    assert (shown["tuned"]["measured"], shown["tuned"]["error"], shown["tuned"]["stages"]) == (None, None, [])
    assert shown["tuned"]["predicted"] == pytest.approx({"latency_ms": 11.0, "throughput_per_s": 1e3 / 11})
    assert shown["tuned"]["lanes"] == ["cpu", "gpu"]
    assert shown["verdict"]["reason"] == "1.64x over cpu alone"
    assert shown["speedup"] == {
        "over_default": None,
        "over_best_single": {"ratio": pytest.approx(18 / 11), "low": None, "high": None},
    }
    cpu, gpu, heft = shown["baselines"]
    assert cpu == {
        "name": "single:cpu",
        "latency_ms": {"p50": pytest.approx(18.0), "p90": None, "p99": None},
        "throughput_per_s": pytest.approx(1e3 / 18),
        "error": None,
        "feasible": True,
    }
    assert (gpu["latency_ms"], gpu["throughput_per_s"], gpu["feasible"]) == (None, None, False)
    assert heft["feasible"]
    cost = shown["cost"]
    assert {"profile_s", "train_s", "search_s", "verify_s", "total_s", "table_candidates", "trials"} < cost.keys()
    assert cost["device_measurements"] == 0


def test_the_command_line_proves_the_optimum(folder: Path) -> None:
    command = ["search", "-m", "net", "--device", f"recorded:{folder}", "--budget", "300ms"]
    unproven = CliRunner().invoke(app, command).output
    assert "at most 22.2% above the optimum, which is not proven (--prove 60s tries to)" in unproven
    proven = CliRunner().invoke(app, [*command, "--prove", "10s"]).output
    assert "the placement is 0.0% above the optimum" in proven
    assert "optimum, proven" in proven
    shown = json.loads(CliRunner().invoke(app, [*command, "--prove", "10s", "--json"]).output)["optimum"]
    assert shown["latency_ms"] == pytest.approx(11.0)
    assert shown["above_optimum"] == pytest.approx(0.0)
    (folder / "corun.csv").write_text("processor,beside,slowdown\ncpu,gpu,1.5\n")
    assert CliRunner().invoke(app, command).exit_code == 0
    with pytest.raises(UsageError, match=r"co-run slowdowns .*corun\.csv"):
        search_recorded(f"recorded:{folder}", "net", prove_s=1.0)


def test_transfers_between_recorded_sizes_lie_on_a_line(folder: Path) -> None:
    device = read_recorded(folder)
    assert device.transfer_us("cpu", "gpu", 400) == pytest.approx(1000)
    assert device.transfer_us("cpu", "gpu", 600) == pytest.approx(1500)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("kernels.csv", lambda text: text.replace("9,5", "9,-5"), "row 4: latency gpu"),
        ("kernels.csv", lambda text: text.replace("9,5", "9,soon"), "soon"),
        ("kernels.csv", lambda text: text.replace("net,b,a", "net,b,z"), "'z' is no earlier kernel"),
        ("kernels.csv", lambda text: text.replace("net,b,a", "net,a,a"), "twice"),
        ("kernels.csv", lambda text: text.replace("output_bytes", "size"), "output_bytes"),
        ("kernels.csv", lambda text: text.replace("latency ", "time "), "no column"),
        ("transfers.csv", lambda text: text.replace("gpu,cpu", "npu,cpu"), "'npu'"),
        ("transfers.csv", lambda text: "from,to,bytes,latency\ncpu,gpu,400,1\n", "from 'gpu' to 'cpu'"),
        ("device.json", lambda text: text.replace('"ms"', '"fortnights"'), "fortnights"),
        ("device.json", lambda text: text.replace('"unit": "ms"', '"source": "us"'), "says no unit: write"),
        ("device.json", lambda text: "{", "no JSON"),
        (
            "kernels.csv",
            lambda text: text.replace("net,c,a,400,9,5", "net,c,a,400,,"),
            "'c' of 'net' has no latency on",
        ),
        ("kernels.csv", lambda text: text.replace("net,c,a,400", "net,c,a,many"), "row 4: bytes 'many'"),
        ("kernels.csv", lambda text: text.replace("net,c,a,400", "net,c,a,"), "row 4: bytes nan"),
        ("kernels.csv", lambda text: text.replace("latency gpu", "latency npu"), "'gpu' is none of the processors"),
        ("transfers.csv", lambda text: text.replace("gpu,cpu,400,1", "gpu,cpu,400,0"), "row 4: latency 0"),
        ("corun.csv", lambda _: "processor,beside,slowdown\ncpu,gpu,0.5\n", "slowdown 0.5"),
        ("corun.csv", lambda _: "processor,beside,slowdown\ncpu,gpu,slow\n", "slowdown 'slow' is no number"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder: Path, file: str, change: Callable[[str], str], says: str) -> None:
    path = folder / file
    path.write_text(change(path.read_text() if path.exists() else ""))
    with pytest.raises(InputError, match=says):
        search_recorded(f"recorded:{folder}", "net", seconds=0.1)


def test_names_and_versions_that_are_not_known(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="net"):
        search_recorded(f"recorded:{folder}", "other", seconds=0.1)
    with pytest.raises(UsageError, match="recorded:FOLDER"):
        search_recorded("phone", "net")
    with pytest.raises(InputError, match=r"device\.json"):
        search_recorded(f"recorded:{folder / 'nowhere'}", "net")
    (folder / "device.json").write_text(json.dumps({"schema_version": 9}))
    with pytest.raises(SchemaVersionError):
        read_recorded(folder)


def test_hopes_tables_become_recorded_devices(tmp_path: Path) -> None:
    ops = pd.DataFrame(
        {
            "engine": "mnn",
            "model": "net",
            "device": "phone",
            "op_name": ["in", "left", "shape", "right", "join"],
            "graph_index": [0.0, 1.0, 2.0, 3.0, 5.0],
            "preds": ["", "0", "0", "2", "1,4"],  # 4 is not in the table: 3, the last before it, takes its place
            "out_shape": "1,8,4,4",
            "cpu_big4_us": [100.0, 400.0, 0.0, 900.0, 50.0],
            "gpu_us": [200.0, 800.0, 0.0, 300.0, 90.0],
        }
    )
    copies = pd.DataFrame(
        {
            "engine": "mnn",
            "model": "net",
            "device": "phone",
            "tensor_shape": ["1,8,4,4", "1,8,2,2"],
            "elements": [128, 32],
            "cpu_to_gpu_us": [30.0, -1.0],
            "gpu_to_cpu_us": [20.0, None],
        }
    )
    ops = pd.concat([ops, ops.assign(device="tablet")])
    ops.to_parquet(tmp_path / "ops.parquet")
    copies.to_parquet(tmp_path / "copies.parquet")
    report = import_hope(tmp_path / "ops.parquet", tmp_path / "copies.parquet", tmp_path / "devices")
    assert (report.kernels, report.guessed_edges) == (4, 1)
    assert [str(cell) for cell in report.refused] == ["row 1, cpu_to_gpu_us: -1.0: a latency is more than 0"]
    assert report.without_transfers == ("tablet",)
    written = pd.read_csv(report.folders["phone"] / "transfers.csv")
    assert written.to_numpy().tolist() == [["cpu", "gpu", 512, 30.0], ["gpu", "cpu", 512, 20.0]]
    model = read_recorded(report.folders["phone"]).model("net")
    assert model.predecessors == ((), (0,), (0,), (1, 2))
    assert model.output_bytes == (512, 512, 512, 512)
    found = search_recorded(f"recorded:{report.folders['phone']}", "net", seconds=0.2)
    assert found.placement.schedule.makespan_us == pytest.approx(100 + 400 + 50)
    copies.assign(device="watch").to_parquet(tmp_path / "copies.parquet")
    with pytest.raises(InputError, match=r"both ways, are in .*it has phone, tablet"):
        import_hope(tmp_path / "ops.parquet", tmp_path / "copies.parquet", tmp_path / "devices")
    with pytest.raises(InputError, match="lacks the columns"):
        import_hope(tmp_path / "copies.parquet", tmp_path / "copies.parquet", tmp_path / "devices")
    ops.assign(out_shape="1,8x,4,4").to_parquet(tmp_path / "ops.parquet")
    copies.assign(device="phone").to_parquet(tmp_path / "copies.parquet")
    with pytest.raises(InputError, match=r"net on phone has a cell that is no number: .*'8x'"):
        import_hope(tmp_path / "ops.parquet", tmp_path / "copies.parquet", tmp_path / "devices")
