"""The real MLflow on SQLite: everything that one search says, and what is found afterwards."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from autotune.tracking import MlflowObserver, destination_of, replay_spool
from autotune.tracking.destination import connect
from autotune.tracking.plots import save_predicted_against_measured
from autotune.tracking.spool import spool_folder


def search(observer: MlflowObserver, folder: Path) -> None:
    """Tells a whole small search."""
    plan, predictor = folder / "plan", folder / "predictor"
    for path in (plan / "plan.json", plan / "stages" / "0.onnx", predictor / "card.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    observer.event(
        "search_started", {"model": "yolo", "scenario": "SingleStream", "tolerance": 1e-3, "device": {"id": "abc"}}
    )
    observer.progress("profile", 1, 2)
    observer.event("baseline", {"name": "default", "p50_ms": 9.5, "feasible": True})
    observer.progress("profile", 2, 2)
    for at, measured in enumerate((6.0, 7.0)):
        observer.event(
            "candidate", {"name": f"c{at}", "hash": "f00", "predicted_ms": 6.5, "p50_ms": measured, "round": 0}
        )
    observer.event("metrics", {"step": 0, "best_ms": 6.0})
    observer.event("metrics", {"step": 1, "best_ms": 5.5})
    observer.event("something nobody knows", {"x": 1})
    observer.event("predictor", {"version": 3, "folder": predictor, "accuracy": {"cpu/f32/t2": {"within_10%": 0.9}}})
    observer.event(
        "plan",
        {
            "folder": plan,
            "verdict": "Use cpu.",
            "summary": "cpu: faster.",
            "speedup_over_default": {"ratio": 1.5, "low": 1.4, "high": 1.6},
        },
    )
    observer.event("search_finished", {"seconds": {"profile": 3.0}, "interrupted": False})


def runs_of(home: Path) -> tuple[Any, Any, list[Any]]:
    """The client, the search's run and the nested ones."""
    client = connect(destination_of(home))
    experiment = client.get_experiment_by_name("autotune").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return client, parent, sorted(nested, key=lambda run: str(run.info.run_name))


def check(home: Path) -> str:
    """Everything that `search` said is there; gives the run's id."""
    client, parent, nested = runs_of(home)
    assert parent.info.run_name == "yolo SingleStream"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["tolerance"] == "0.001"
    assert parent.data.params["device.id"] == "abc"
    assert [(m.step, m.value) for m in client.get_metric_history(parent.info.run_id, "best_ms")] == [(0, 6.0), (1, 5.5)]
    assert parent.data.metrics["speedup_over_default.ratio"] == 1.5
    assert parent.data.metrics["seconds.profile"] == 3.0
    assert parent.data.tags["verdict"] == "Use cpu."
    assert parent.data.tags["mlflow.note.content"] == "cpu: faster."
    assert {run.data.tags["mlflow.source.name"] for run in (parent, *nested)} == {"autotune"}
    assert [run.info.run_name for run in nested] == ["baseline default", "candidate c0", "candidate c1"]
    assert nested[0].data.params["feasible"] == "true"
    assert nested[1].data.metrics["p50_ms"] == 6.0
    assert {run.info.status for run in nested} == {"FINISHED"}
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "plan")] == [
        "plan/plan.json",
        "plan/stages",
    ]
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "predictor/3")] == ["predictor/3/card.json"]
    (figure,) = client.list_artifacts(parent.info.run_id, "plots")
    assert figure.file_size > 1000
    champion = client.get_model_version_by_alias("autotune-predictor-abc", "champion")
    assert champion.run_id == parent.info.run_id
    assert champion.tags["accuracy.cpu/f32/t2.within_10_"] == "0.9"
    return str(parent.info.run_id)


def test_a_search_is_a_run_with_nested_runs_artifacts_and_a_registered_predictor(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    observer = MlflowObserver(home)
    with caplog.at_level(logging.INFO):
        search(observer, tmp_path)
        observer.close(timeout_s=120)
    assert observer.run_id() == check(home)
    assert [record for record in caplog.records if record.name.startswith("autotune")] == []
    assert capfd.readouterr().err == ""  # neither Alembic's lines nor MLflow's
    assert list(spool_folder(home).iterdir()) == []
    assert (home / "mlartifacts").is_dir()


def test_a_data_base_is_made_whole_or_not_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short, MLflow's migrations leave a file that it cannot open again."""
    from mlflow.store.db import utils

    def full(engine: Any) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE spans (id INTEGER)")
        raise OSError(28, "No space left on device")

    home.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(utils, "_upgrade_db", full)
        with pytest.raises(OSError, match="No space"):
            connect(destination_of(home))
    assert list(home.iterdir()) == []
    assert [found.name for found in connect(destination_of(home)).search_experiments()] == ["Default"]
    assert [path.name for path in home.iterdir()] == ["mlflow.db"]


def test_what_a_dead_server_did_not_take_is_logged_when_it_is_back(
    home: Path, tmp_path: Path, dead_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = MlflowObserver(home)
    search(observer, tmp_path)
    observer.close(timeout_s=30)
    assert observer.run_id() is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # SQLite in place of the server that is back
    assert replay_spool(home) == 1
    check(home)
    assert list(spool_folder(home).iterdir()) == []
    assert replay_spool(home) == 0


def test_an_unfinished_search_has_failed_an_interrupted_one_is_killed_a_training_is_finished(home: Path) -> None:
    first = MlflowObserver(home)
    first.event("search_started", {"model": "a"})
    first.close(timeout_s=120)
    second = MlflowObserver(home)
    second.event("search_started", {"model": "b"})
    second.event("search_finished", {"seconds": {}, "interrupted": True})
    second.close(timeout_s=120)
    training = MlflowObserver(home)
    training.event("predictor", {"version": "v1", "folder": home, "accuracy": {}, "device": "abc"})
    training.close(timeout_s=120)
    client = connect(destination_of(home))
    runs = client.search_runs([client.get_experiment_by_name("autotune").experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {
        "a": "FAILED",
        "b": "KILLED",
        "retrain": "FINISHED",
    }


def test_axes_are_logarithmic_only_over_a_wide_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over less, the ticks of a logarithmic axis run into each other."""
    from matplotlib.axes import Axes

    scales: list[object] = []
    inner = Axes.set

    def noted(self: Axes, **options: Any) -> object:
        scales.append(options.get("xscale"))
        return inner(self, **options)

    monkeypatch.setattr(Axes, "set", noted)
    assert save_predicted_against_measured([("a", 13.8, 10.9), ("b", 13.5, 11.6)], tmp_path / "near.png")
    assert save_predicted_against_measured([("a", 0.5, 0.6), ("b", 35.0, 40.0)], tmp_path / "far.png")
    assert [scale for scale in scales if scale] == ["linear", "log"]


def test_the_alias_follows_a_rollback(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "predictor"
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    observer = MlflowObserver(home)
    for version in ("v0001", "v0002"):
        observer.event("predictor", {"version": version, "folder": folder, "device": "abc"})
    observer.close(timeout_s=120)
    for version, now in (("v0001", "v0001"), ("v0099", "v0001"), ("v0002", "v0002")):
        later = MlflowObserver(home)
        later.event("predictor_in_use", {"version": version, "device": "abc"})
        later.close(timeout_s=120)
        client = connect(destination_of(home))
        champion = client.get_model_version_by_alias("autotune-predictor-abc", "champion")
        assert champion.tags["autotune.version"] == now
    assert list(spool_folder(home).iterdir()) == []
    assert len(client.search_runs([client.get_experiment_by_name("autotune").experiment_id])) == 1
