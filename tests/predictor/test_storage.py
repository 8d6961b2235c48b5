"""Saved predictors: what is written, what is refused, which one is in use."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from autotune.errors import PredictorError
from autotune.predictor import KernelPredictor, champion_problem, load, load_champion, promote, register, save, versions


@pytest.fixture(scope="module")
def fitted(invented: ModuleType) -> KernelPredictor:
    records = invented.profile(invented.draw_kernels(40, 1), invented.LANES[:2])
    return KernelPredictor(device=invented.DEVICE).fit(records, calibrate=False)


def test_the_card_says_what_it_is(fitted: KernelPredictor, tmp_path: Path, invented: ModuleType) -> None:
    card = json.loads((save(fitted, tmp_path / "p", accuracy={"within_10": 0.9}) / "card.json").read_text())
    assert card["device"] == invented.DEVICE.id
    assert card["records"] == 80
    assert card["accuracy"] == {"within_10": 0.9}
    assert [lane["name"] for lane in card["lanes"]] == ["cpu/f32/t1", "cpu/f32/t2"]
    assert not list((tmp_path / "p").glob("*.pkl"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["p"]


def test_an_older_one_is_replaced_whole(fitted: KernelPredictor, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "lane_099.ubj").write_bytes(b"old")
    save(fitted, tmp_path / "p")
    lanes = [f"lane_00{number}.{suffix}" for number in range(2) for suffix in ("npz", "ubj")]
    assert sorted(entry.name for entry in (tmp_path / "p").iterdir()) == ["card.json", *lanes]


def test_what_learnt_nothing_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match="fit"):
        save(KernelPredictor(), tmp_path / "p")


def test_refuses_another_device(fitted: KernelPredictor, tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match="this is feedfeedfeed"):
        load(save(fitted, tmp_path / "p"), device="feedfeedfeed")


@pytest.mark.parametrize(("field", "value"), [("schema_version", 99), ("features_version", 99), ("features", ["a"])])
def test_refuses_other_versions(fitted: KernelPredictor, tmp_path: Path, field: str, value: object) -> None:
    card = save(fitted, tmp_path / "p") / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {field: value}))
    with pytest.raises(PredictorError, match="autotune retrain"):
        load(tmp_path / "p")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "card.json").unlink(),
        lambda folder: (folder / "card.json").write_text("{"),
        lambda folder: (folder / "card.json").write_text("[]"),
        lambda folder: (folder / "card.json").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "lane_000.ubj").unlink(),
        lambda folder: (folder / "lane_000.ubj").write_bytes(b"nonsense"),
        lambda folder: (folder / "card.json").write_text(
            (folder / "card.json").read_text().replace('"coefficients"', '"coefficient"')
        ),
        lambda folder: (folder / "card.json").write_text(
            (folder / "card.json").read_text().replace('"boosted"', '"oracle"')
        ),
        lambda folder: (folder / "card.json").write_text(
            (folder / "card.json").read_text().replace('"rounds": 150', '"rounds": "many"')
        ),
    ],
)
def test_a_damaged_folder_says_what_to_do(fitted: KernelPredictor, tmp_path: Path, damage: object) -> None:
    folder = save(fitted, tmp_path / "p")
    assert callable(damage)
    damage(folder)
    with pytest.raises(PredictorError, match=r"delete the folder and run `autotune retrain`"):
        load(folder)


def test_versions_count_up_and_the_last_registered_is_in_use(
    fitted: KernelPredictor, tmp_path: Path, invented: ModuleType
) -> None:
    assert load_champion(tmp_path, invented.DEVICE) is None
    assert register(fitted, tmp_path) == "v0001"
    assert register(fitted, tmp_path) == "v0002"
    assert register(fitted, tmp_path, champion=False) == "v0003"
    champion = load_champion(tmp_path, invented.DEVICE)
    assert champion is not None
    assert champion.version == "v0002"
    kernels = invented.draw_kernels(5, 2)
    lane = fitted.lanes[0]
    assert np.array_equal(champion.predictor.predict_us(kernels, lane), fitted.predict_us(kernels, lane))
    promote("v0001", tmp_path)
    assert load_champion(tmp_path, invented.DEVICE).version == "v0001"  # type: ignore[union-attr]
    assert versions(tmp_path) == ("v0001", "v0002", "v0003")
    assert load_champion(tmp_path, "feedfeedfeed") is None


def test_a_champion_that_cannot_be_read_is_none(fitted: KernelPredictor, tmp_path: Path, invented: ModuleType) -> None:
    register(fitted, tmp_path)
    (tmp_path / "predictors" / "v0001" / "lane_001.ubj").unlink()
    assert load_champion(tmp_path, invented.DEVICE) is None
    assert "run `autotune retrain`" in champion_problem(tmp_path, invented.DEVICE)
    assert champion_problem(tmp_path, "feedfeedfeed") == ""


def test_promoting_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match="v0007"):
        promote("v0007", tmp_path)
