"""Several models in one runtime: turns, pinned cores, folders, and what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import Queue

import numpy as np
import pytest

import autotune
from autotune.core import Candidate, Fairness, JointMember, JointPlan, Lane, Scenario, Sharing, StageChoice, Timing
from autotune.errors import PlanError, SchemaVersionError, UnknownNameError, UsageError
from autotune.processors import this_device
from autotune.processors.cores import allowed_cores
from autotune.runtime import (
    StageRunner,
    Together,
    load_plan,
    load_plans,
    own_folder,
    read_joint,
    write_joint,
    write_plan,
)
from autotune.runtime.turns import Turns

from .conftest import LANE, WIDTH, X, make_plan, stage_files

Feeds = dict[str, np.ndarray]
TIMING = Timing(p50_us=1.0, p90_us=1.0, p99_us=1.0, throughput_per_s=1e6)


def joint_plan(*names: str, turns: tuple[tuple[str, ...], ...] = ()) -> JointPlan:
    own = Candidate(stages=(StageChoice(start=0, stop=5, lane=LANE),))
    return JointPlan(
        scenario=Scenario.SINGLE_STREAM,
        fairness=Fairness.SUM,
        sharing=Sharing.TURNS if turns else Sharing.SPACE,
        members=tuple(JointMember(name=name, own=own, alone=TIMING) for name in names),
        turns=turns,
        device=this_device(),
    )


def save(folder: Path, *, lanes: tuple[Lane, Lane] = (LANE, LANE), turns: tuple[tuple[str, ...], ...] = ()) -> Path:
    """A joint plan of `a` (one stage) and `b` (two stages)."""
    plans = {}
    for name, stages, lane in zip("ab", (1, 2), lanes, strict=True):
        plans[name] = folder / f"{name}-plan"
        files = stage_files(folder / f"{name}-files")
        write_plan(make_plan(stages=stages, lane=lane), plans[name], files=files, whole="whole.onnx")
    write_joint(joint_plan("a", "b", turns=turns), folder / "joint", plans=plans)
    return folder / "joint"


def pinned(core: int) -> Lane:
    return replace(LANE, concurrency=replace(LANE.concurrency, cores=(core,)))


@pytest.mark.parametrize("way", ["free", "turns", "pinned", "pinned turns", "pinned to one core"])
def test_all_models_give_their_outputs_from_many_threads(
    tmp_path: Path, feeds: Feeds, expected: list[np.ndarray], way: str
) -> None:
    cores = allowed_cores()
    lanes = (pinned(cores[0]), pinned(cores[-1] if way == "pinned" else cores[0])) if "pinned" in way else (LANE, LANE)
    folder = save(tmp_path, lanes=lanes, turns=(("a", "b"),) if "turns" in way else ())
    before = threading.active_count()
    found: list[list[np.ndarray]] = []
    with autotune.load_plans(folder) as plans:
        assert plans.models == ("a", "b")

        def calls(name: str) -> None:
            found.extend(plans.run(name, None, feeds) for _ in range(5))

        threads = [threading.Thread(target=calls, args=(name,)) for name in "abab"]
        for thread in threads:
            thread.start()
        futures = [plans.submit(name, ["z"], feeds) for name in "ab" * 4]
        for thread in threads:
            thread.join()
        submitted = [future.result() for future in futures]
    assert len(found) == 20
    for outputs in found:
        np.testing.assert_allclose(outputs[0], expected[0], rtol=1e-5)
        np.testing.assert_allclose(outputs[1], expected[1], rtol=1e-5)
    for (z,) in submitted:
        np.testing.assert_allclose(z, expected[1], rtol=1e-5)
    assert threading.active_count() == before


def test_own_best_plans_have_folders_that_are_no_models(tmp_path: Path) -> None:
    names = ("a", "own-a")
    plans = {name: tmp_path / f"{name}-plan" for name in (*names, "alone", "alone too")}
    for name, place in plans.items():
        write_plan(make_plan(), place, files=stage_files(tmp_path / f"{name}-files"), whole="whole.onnx")
    joint = joint_plan(*names)
    own = {"a": plans["alone"], "own-a": plans["alone too"]}
    for folder in (tmp_path / "joint", tmp_path / "elsewhere", tmp_path / "joint"):  # plans stay where they were
        write_joint(joint, folder, plans=plans, own=own)
        assert read_joint(folder) == joint
        folders = {own_folder(joint, name) for name in names}
        assert len(folders | set(names)) == 4
        assert {path.name for path in folder.iterdir()} == {*names, *folders, "joint.json"}
    (tmp_path / "joint" / own_folder(joint, "a") / "plan.json").write_text("{}")
    with pytest.raises(PlanError, match="has changed"):
        read_joint(tmp_path / "joint")


@pytest.mark.parametrize("turns", [(), (("a", "b"),)])
def test_callbacks_may_run_any_model(tmp_path: Path, feeds: Feeds, turns: tuple[tuple[str, ...], ...]) -> None:
    cores = allowed_cores()
    plans = load_plans(save(tmp_path, lanes=(pinned(cores[0]), pinned(cores[-1])), turns=turns))
    meet = threading.Barrier(2, timeout=20)  # each model's only worker wants both models while the other does too
    done: Queue[int] = Queue()

    def again(_: object) -> None:
        meet.wait()
        done.put(sum(len(plans.run(name, None, feeds)) for name in "ab"))

    for name in "ab":
        plans.submit(name, None, feeds).add_done_callback(again)
    assert [done.get(timeout=20) for _ in "ab"] == [4, 4]
    plans.close()


def test_only_one_model_of_a_group_runs_at_a_time(tmp_path: Path, feeds: Feeds) -> None:
    busy, most = [0], [0]
    lock = threading.Lock()

    class Counting(StageRunner):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            inner = self.run

            def run(*given: object) -> list[object]:
                with lock:
                    busy[0] += 1
                    most[0] = max(most[0], busy[0])
                found = inner(*given)
                with lock:
                    busy[0] -= 1
                return found

            self.run = run

    stage_files(tmp_path)
    runners = {name: Counting([(tmp_path / "whole.onnx", LANE)], ["y", "z"]) for name in "ab"}
    together = Together(runners, turns=[("a", "b")], callers={"a": 2, "b": 2})
    for future in [together.submit(name, None, feeds) for name in "ab" * 20]:
        future.result()
    together.close()
    assert most[0] == 1


def test_a_failed_request_gives_its_turn_back(tmp_path: Path, feeds: Feeds) -> None:
    with load_plans(save(tmp_path, turns=(("a", "b"),))) as plans:
        with pytest.raises(PlanError, match="shape"):
            plans.run("a", None, {X.name: np.zeros((2, WIDTH), np.float32)})
        with pytest.raises(PlanError, match="unknown output nothing"):
            plans.submit("a", ["nothing"], feeds)
        assert len(plans.run("b", None, feeds)) == 2


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def served(weights: tuple[float, ...], lasts: tuple[float, ...], count: int) -> list[int]:
    """Who went, in order, while two requests of each member always wait; a turn of member m lasts `lasts[m]`."""
    clock = Clock()
    order = Turns(weights, clock=clock)
    went: list[int] = []

    def member(at: int) -> None:
        while len(went) < count:
            with order.turn(at):
                went.append(at)
                while len(went) < count and sum(map(len, order._waiting)) < 2 * len(weights) - 1:
                    pass  # until all others wait
                clock.now += lasts[at]

    threads = [threading.Thread(target=member, args=(at,), daemon=True) for at in range(len(weights)) for _ in "12"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return went[:count]


def test_time_not_requests_is_shared_out_by_weight() -> None:
    even = served((1.0, 1.0), (1.0, 3.0), 41)
    assert 2.5 <= even.count(0) / even.count(1) <= 3.5
    heavy = served((3.0, 1.0), (1.0, 1.0), 41)
    assert 2.5 <= heavy.count(0) / heavy.count(1) <= 3.5


def test_who_was_idle_is_not_owed_the_time() -> None:
    clock = Clock()
    order = Turns([1.0, 1.0], clock=clock)
    for _ in range(100):
        with order.turn(0):
            clock.now += 1.0
    with order.turn(1):
        clock.now += 1.0
    assert order._used[1] >= 99.0


def test_one_that_is_interrupted_while_it_waits_does_not_keep_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    order = Turns([1.0, 1.0])

    class Interrupted:
        def __init__(self) -> None:
            self.first = True

        def acquire(self) -> None:
            if not self.first:
                raise KeyboardInterrupt
            self.first = False

        def release(self) -> None:
            raise AssertionError("nobody waits")

    with order.turn(0), monkeypatch.context() as patch:
        patch.setattr("autotune.runtime.turns.threading.Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt), order.turn(1):
            pass
    with order.turn(1):
        pass


def test_an_unknown_model_and_a_closed_plan_are_refused(tmp_path: Path, feeds: Feeds) -> None:
    plans = load_plans(save(tmp_path))
    with pytest.raises(UnknownNameError, match="known: a, b"):
        plans.run("c", None, feeds)
    plans.close()
    plans.close()
    with pytest.raises(PlanError, match="closed"):
        plans.run("a", None, feeds)


def test_the_folder_reads_back_and_replaces_an_older_one(tmp_path: Path) -> None:
    folder = save(tmp_path, turns=(("a", "b"),))
    assert read_joint(folder) == joint_plan("a", "b", turns=(("a", "b"),))
    for name in "ab":
        shutil.rmtree(tmp_path / f"{name}-files")
    save(tmp_path)
    assert read_joint(folder).turns == ()


def test_a_foreign_file_in_a_models_folder_is_kept(tmp_path: Path) -> None:
    folder = save(tmp_path)
    (folder / "b" / "thesis.txt").write_text("years of work")
    for name in "ab":
        shutil.rmtree(tmp_path / f"{name}-files")
    with pytest.raises(PlanError, match=r"b/thesis\.txt"):
        save(tmp_path)
    assert (folder / "b" / "thesis.txt").exists()


def _newer(folder: Path) -> None:
    path = folder / "joint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))


def _garbled(folder: Path) -> None:
    (folder / "joint.json").write_text("{")


def _missing(folder: Path) -> None:
    shutil.rmtree(folder / "b")


def _changed(folder: Path) -> None:
    with (folder / "b" / "plan.json").open("a") as stream:
        stream.write(" ")


@pytest.mark.parametrize(
    ("harm", "message"),
    [(_newer, "99"), (_garbled, "damaged"), (_missing, "no plan of b"), (_changed, "has changed")],
)
def test_what_is_damaged_or_newer_is_refused(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    folder = save(tmp_path)
    harm(folder)
    with pytest.raises((PlanError, SchemaVersionError), match=message):
        load_plans(folder)


def test_a_processor_that_is_not_here_is_refused_and_what_was_loaded_let_go(tmp_path: Path, feeds: Feeds) -> None:
    folder = save(tmp_path, lanes=(LANE, Lane.parse("qnn:npu/f32")))
    with pytest.raises(PlanError, match="qnn:npu"):
        load_plans(folder)
    with load_plans(folder, fallback=True) as plans:
        assert len(plans.run("b", None, feeds)) == 2


def test_each_loader_names_the_other(tmp_path: Path) -> None:
    folder = save(tmp_path)
    with pytest.raises(PlanError, match="load_plans"):
        load_plan(folder)
    with pytest.raises(PlanError, match=r"load_plan\b"):
        load_plans(folder / "a")


def test_values_check_themselves() -> None:
    with pytest.raises(PlanError, match="different names"):
        joint_plan("a", "a")
    with pytest.raises(PlanError, match="turns"):
        joint_plan("a", "b", turns=(("a", "c"),))
    with pytest.raises(UsageError, match="weight"):
        replace(joint_plan("a").members[0], weight=0.0)
