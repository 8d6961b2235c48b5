"""Public tables: small ones of the same form, imported as a whole or not at all, every refused cell named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autotune.datasets.public import SOURCES, check, import_public, importing, load_public, read_card, source, verify
from autotune.datasets.public.importing import folder_of
from autotune.errors import InputError, SchemaVersionError, StoreError, UnknownNameError


def operators(**changes: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "framework": "tflite", "model": ["a", "a", "b", "b"], "op_index": [0, 1, 0, 1],
            "op": ["conv_2d", "depthwise_conv_2d", "mean", "concatenation"], "in_hw": 8.0, "in_c": 16.0, "out_hw": 8.0,
            "out_c": 16.0, "kernel": 3.0, "stride": 1.0, "groups": 1.0, "lat_us_red": [10.0, 20.0, 30.0, 40.0],
            "lat_us_blue": [5.0, None, 7.0, 8.0], "fold": [0, 0, 1, 1],
        }
    )  # fmt: skip
    return table.assign(**changes)  # type: ignore[arg-type]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "usc_mobile_gpu_ops.parquet"
    operators().to_parquet(path)
    return path


def test_a_table_comes_in_with_its_card(table: Path, tmp_path: Path) -> None:
    report = import_public(table, tmp_path, time="2026-01-01T00:00:00+00:00")
    assert (report.rows, report.latencies, report.empty, report.refused) == (4, 7, 1, ())
    rows, latencies = load_public(tmp_path, report.name)
    assert list(rows["autotune_family"]) == ["convolution", "depthwise", "pooling", "data_movement"]
    assert set(latencies["device"]) == {"red", "blue"}
    assert sorted(latencies[latencies["device"] == "blue"]["latency_us"]) == [5, 7, 8]
    card = read_card(tmp_path, report.name)
    assert card["licence"] == "MIT"
    assert card["devices"] == [
        {"device": "blue", "processor": "gpu", "latencies": 3}, {"device": "red", "processor": "gpu", "latencies": 4},
    ]  # fmt: skip
    assert verify(tmp_path, report.name) == []


def test_units_become_microseconds(tmp_path: Path) -> None:
    table = pd.DataFrame({"arch_index": [0, 1], "arch_str": ["x", "y"], "help_ms_titan_1": [1.5, 2.0], "e01": [1, 2]})
    table.to_parquet(tmp_path / "other_name.parquet")
    report = import_public(tmp_path / "other_name.parquet", tmp_path)
    assert report.name == "nb201_latency"
    assert list(load_public(tmp_path, report.name)[1]["latency_us"]) == [1500, 2000]


@pytest.mark.parametrize(
    ("value", "says"),
    [(-3.0, "-3.0: a latency is more than 0"), (0.0, "more than 0"), (4e9, "an hour"), (float("inf"), "an hour")],
)
def test_a_bad_latency_is_refused_with_its_place(value: float, says: str, tmp_path: Path) -> None:
    checked = check(source("usc_mobile_gpu_ops"), operators(lat_us_red=[10.0, 20.0, value, 40.0]))
    (refused,) = checked.refused
    assert (refused.row, refused.column) == (2, "lat_us_red")
    assert says in refused.reason
    assert len(checked.latencies) == 6


def test_words_and_doubles_are_refused_and_counted() -> None:
    checked = check(
        source("usc_mobile_gpu_ops"), operators(lat_us_red=["10", "soon", "30", "40"], op_index=[0, 1, 0, 0])
    )
    assert [(cell.row, cell.column) for cell in checked.refused] == [
        (1, "lat_us_red"), (3, "lat_us_red"), (3, "lat_us_blue"),
    ]  # fmt: skip
    assert "no number" in checked.refused[0].reason
    assert "earlier row" in checked.refused[1].reason
    assert len(checked.latencies) + len(checked.refused) + checked.empty == 8


def test_parts_of_a_sum_are_numbers_before_they_are_added() -> None:
    parts = {"enc_ms_mean": ["12.5", "12.5", None, "soon", "20", "3"], "dec_ms_mean": ["7", "-7", "7", "9", "30", "x"]}
    table = pd.DataFrame(parts).assign(
        task="wmt", device="cpu", encoder_embed_dim=range(6), decoder_layer_num=[1, 2, 3, 4, 5, 6]
    )
    checked = check(source("hat_transformer_latency"), table)
    assert checked.latencies["latency_us"].tolist() == [19500, 50000]
    assert checked.empty == 1
    assert [str(cell) for cell in checked.refused] == [
        "row 1, dec_ms_mean: '-7': a latency is more than 0",
        "row 3, enc_ms_mean: 'soon': no number",
        "row 5, dec_ms_mean: 'x': no number",
    ]


def test_one_text_among_the_parts_of_a_sum_is_refused() -> None:
    table = pd.DataFrame(
        {
            "task": "wmt", "device": "cpu", "encoder_embed_dim": [1, 2], "decoder_layer_num": 1,
            "enc_ms_mean": [10.0, 20.0], "dec_ms_mean": ["40", "n/a"],
        }
    )  # fmt: skip
    checked = check(source("hat_transformer_latency"), table)
    assert checked.latencies["latency_us"].tolist() == [50000]
    assert [str(cell) for cell in checked.refused] == ["row 1, dec_ms_mean: 'n/a': no number"]


def test_an_unknown_processor_is_refused() -> None:
    table = pd.DataFrame(
        {
            "framework": "tflite", "model": ["a", "b"], "device": "red", "processor": ["gpu", "abacus"], "cores": "x",
            "precision": "float", "lat_us_mean": [1e4, 1e4],
        }
    )  # fmt: skip
    (refused,) = check(source("usc_mobile_e2e"), table).refused
    assert "unknown processor; known: cpu, gpu" in refused.reason


def test_another_unit_or_a_missing_column_imports_nothing(table: Path, tmp_path: Path) -> None:
    import_public(table, tmp_path)
    before = load_public(tmp_path, "usc_mobile_gpu_ops")[1]
    operators(lat_us_red=[1e-5, 2e-5, 3e-5, 4e-5]).to_parquet(table)
    with pytest.raises(InputError, match=r"read as us: the median would be 4e-05 µs, 3 to 7e\+04 µs are plausible"):
        import_public(table, tmp_path)
    operators().drop(columns="stride").to_parquet(table)
    with pytest.raises(InputError, match="lacks the columns stride"):
        import_public(table, tmp_path)
    operators(lat_us_red=None, lat_us_blue=None).to_parquet(table)
    with pytest.raises(InputError, match="not one of its latencies"):
        import_public(table, tmp_path)
    assert load_public(tmp_path, "usc_mobile_gpu_ops")[1].equals(before)
    assert [path.name for path in folder_of(tmp_path, "x").parent.iterdir()] == ["usc_mobile_gpu_ops"]


def models(unit_us: float, median_us: float, **columns: object) -> pd.DataFrame:
    """Latencies around a median, in another unit."""
    latency = [median_us / unit_us * factor for factor in (0.1, 1.0, 1.0, 20.0)]
    return pd.DataFrame({name: latency if value is ... else value for name, value in columns.items()})


MEDIANS = {
    "usc_mobile_gpu_ops": operators(lat_us_red=[1.0, 105.0, 105.0, 9e3], lat_us_blue=None),
    "usc_mobile_e2e": models(
        1, 125e3, framework="tflite", model=list("abcd"), device="red", processor="gpu", cores="x", precision="float",
        lat_us_mean=...,
    ),
    "nb201_latency": models(1e3, 11e3, arch_index=range(4), arch_str=list("abcd"), help_ms_titan_1=...),
    "hat_transformer_latency": models(
        1e3, 221e3, task="wmt", device="pi", encoder_embed_dim=range(4), decoder_layer_num=range(4), enc_ms_mean=...,
        dec_ms_mean=1e-3,
    ),
    "qaihub_npu_latency": models(
        1e3, 6.2e3, model=list("abcd"), component="", precision="int8", device="s24", runtime="onnx", latency_ms=...,
        primary_compute_unit="NPU",
    ),
}  # fmt: skip
"""Tables with the medians of the published ones."""


@pytest.mark.parametrize("name", MEDIANS)
def test_a_thousandth_and_a_thousand_times_the_published_latencies_are_another_unit(name: str) -> None:
    table, one = MEDIANS[name], source(name)
    assert len(check(one, table).latencies) == 4
    times = [column for column in table.columns if table[column].dtype == float]
    for factor in (1e-3, 1e3):
        with pytest.raises(InputError, match=rf"{name}, read as {one.unit}: .*it is in another unit.*bring its latenc"):
            check(one, table.assign(**{column: table[column] * factor for column in times}))


REAL_US = np.linspace(105.0, 1400.0, 12)


@pytest.mark.parametrize("others", [1, 2])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_one_device_in_another_unit_imports_nothing(factor: float, others: int) -> None:
    table = operators()[["framework", "op", *source("usc_mobile_gpu_ops").columns[4:]]].iloc[[0] * len(REAL_US)]
    table = table.assign(model="a", op_index=range(len(REAL_US)))
    beside = {f"lat_us_phone{at}": (0.4 + at) * REAL_US for at in range(others)}
    assert len(check(source("usc_mobile_gpu_ops"), table.assign(lat_us_red=12 * REAL_US, **beside)).latencies)
    with pytest.raises(InputError, match=r"lat_us_\w+ of \w+: [\d.e+-]+ times what others take on the same rows") as e:
        check(source("usc_mobile_gpu_ops"), table.assign(lat_us_red=factor * REAL_US, **beside))
    assert others == 1 or "lat_us_red of red" in str(e.value)


def test_one_phone_of_a_table_by_rows_is_compared_with_the_others() -> None:
    parts = [
        pd.DataFrame(
            {
                "framework": "tflite", "model": [f"m{at}" for at in range(12)], "device": device, "processor": "cpu",
                "cores": "1large", "precision": "float", "lat_us_mean": unit * 50 * REAL_US,
            }
        )
        for device, unit in {"red": 1.0, "blue": 2.0, "green": 1e-3}.items()
    ]  # fmt: skip
    assert len(check(source("usc_mobile_e2e"), pd.concat(parts[:2], ignore_index=True)).latencies) == 24
    with pytest.raises(InputError, match=r"lat_us_mean of green: 0\.0007"):
        check(source("usc_mobile_e2e"), pd.concat(parts, ignore_index=True))


def test_an_import_that_fails_or_is_interrupted_leaves_the_earlier_one(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_public(table, tmp_path)
    before = load_public(tmp_path, "usc_mobile_gpu_ops")[1]
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if "old" not in (self.name, target.name):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    monkeypatch.setattr(importing, "write_records", lambda *_, **__: None)
    with pytest.raises(StoreError, match="No space left"):
        import_public(table, tmp_path)
    monkeypatch.setattr(Path, "rename", rename)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "write_records", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_public(table, tmp_path)
    assert load_public(tmp_path, "usc_mobile_gpu_ops")[1].equals(before)
    assert [path.name for path in folder_of(tmp_path, "x").parent.iterdir()] == ["usc_mobile_gpu_ops"]


def test_files_that_are_no_table_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        import_public(tmp_path / "none.parquet", tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="cannot be read"):
        import_public(tmp_path / "bad.parquet", tmp_path)
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "odd.csv", index=False)
    with pytest.raises(InputError, match="say which with --as"):
        import_public(tmp_path / "odd.csv", tmp_path)
    with pytest.raises(UnknownNameError, match="hope_ops"):
        import_public(tmp_path / "odd.csv", tmp_path, name="hop")


def test_damage_is_found(table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not imported"):
        verify(tmp_path, "usc_mobile_gpu_ops")
    folder = import_public(table, tmp_path).folder
    operators().to_parquet(folder / "rows.parquet")
    assert "its hash differs" in verify(tmp_path, "usc_mobile_gpu_ops")[0]
    (folder / "latencies.parquet").unlink()
    assert "missing" in verify(tmp_path, "usc_mobile_gpu_ops")[1]
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"schema_version": 99}))
    with pytest.raises(SchemaVersionError, match="99"):
        verify(tmp_path, "usc_mobile_gpu_ops")
    (folder / "card.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        read_card(tmp_path, "usc_mobile_gpu_ops")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_table_says_which_columns_it_lacks(name: str) -> None:
    one = source(name)
    assert one.origin
    assert one.licence
    assert one.model in one.columns or one.name == "fbnet_latency_27cfg"
    with pytest.raises(InputError, match=one.columns[-1]):
        check(one, pd.DataFrame({"nothing": [1]}))
