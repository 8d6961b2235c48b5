"""A worker's crash, hang or error is a result, and costs nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor
from pathlib import Path

import psutil
import pytest

from autotune.core import Failure, FailureKind
from autotune.errors import MeasurementError
from autotune.profiler import Worker, WorkerExecutor
from autotune.profiler.serve import send


def test_a_call_gives_what_the_function_returned_in_another_process() -> None:
    with Worker() as worker:
        assert worker.call(os.getpid, deadline_s=30) == worker.pid != os.getpid()
        assert worker.call(divmod, 7, 2, deadline_s=30) == (3, 1)


def test_what_lies_in_the_working_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "autotune").mkdir()
    (tmp_path / "autotune" / "__init__.py").write_text("raise SystemExit('the wrong autotune')")
    monkeypatch.chdir(tmp_path)
    with Worker() as worker:
        assert worker.call(len, "abc", deadline_s=30) == 3


def test_items_of_a_generator_come_one_by_one() -> None:
    with Worker() as worker:
        assert list(worker.stream(enumerate, ["a", "b"], deadline_s=30)) != []
        assert worker.call(sorted, [3, 1, 2], deadline_s=30) == [1, 2, 3]


def test_a_signal_is_a_crash_that_names_it_and_the_worker_comes_back() -> None:
    with Worker() as worker:
        found = worker.call(signal.raise_signal, signal.SIGSEGV, deadline_s=30)
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.CRASH
        assert "SIGSEGV" in found.message
        assert worker.call(len, "abc", deadline_s=30) == 3


def test_a_worker_killed_from_outside_is_a_failure() -> None:
    with Worker() as worker:
        worker.start()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        found = worker.call(len, "abc", deadline_s=30)
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.MEMORY
        assert worker.call(len, "abc", deadline_s=30) == 3


def test_a_hang_ends_at_the_deadline_and_leaves_no_process() -> None:
    with Worker() as worker:
        worker.start()
        pid = worker.pid
        found = worker.call(time.sleep, 60, deadline_s=0.5)
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.HANG
        assert pid is not None
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_worker_that_answers_no_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.profiler.worker.GRACE_S", 0.1)
    with Worker() as worker:
        worker.start()
        pid = worker.pid
        found = worker.call(eval, "__import__('os').closerange(3, 64) or __import__('time').sleep(60)", deadline_s=30)
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.CRASH
        assert pid is not None
        assert has_ended(pid)


def test_silence_ends_a_worker_long_before_its_deadline_and_keeps_what_came_before() -> None:
    with Worker() as worker:
        items = "(__import__('time').sleep(seconds) or seconds for seconds in (0.0, 0.1, 60.0))"
        *before, last = worker.stream(eval, items, deadline_s=60, silence_s=5)
        assert before == [0.0, 0.1]
        assert isinstance(last, Failure)
        assert (last.kind, last.message) == (FailureKind.HANG, "no sign of life for 5 s")
        assert worker.call(len, "abc", deadline_s=30) == 3


def test_an_exception_is_a_failure_with_its_message() -> None:
    with Worker() as worker:
        found = worker.call(int, "x", deadline_s=30)
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.ERROR
        assert "'x'" in found.message


def test_what_a_worker_prints_does_not_reach_its_answers() -> None:
    with Worker() as worker:
        assert worker.call(print, "noise", deadline_s=30) is None
        assert worker.call(os.write, 1, b"noise\n", deadline_s=30) == 6
        assert worker.call(len, "abc", deadline_s=30) == 3


def in_a_terminal(code: str) -> str:
    """What a parent of a worker prints that leads a process group, as a command of a shell does."""
    begin = "import os, signal, time\nfrom autotune.profiler import Worker\nworker = Worker()\n"
    command = [sys.executable, "-c", begin + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True).stdout


def has_ended(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


BUSY = "worker.start(); print(worker.pid, flush=True); next(worker.stream(time.sleep, 600, deadline_s=600), None)"


@pytest.mark.parametrize(
    "end",
    [
        "worker.start(); print(worker.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)",
        f"signal.alarm(1); {BUSY}",
        f"signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL)); signal.alarm(1); {BUSY}",
        f"signal.signal(signal.SIGALRM, signal.default_int_handler); signal.alarm(1); {BUSY}",
    ],
    ids=["killed at once", "terminated", "killed", "interrupted"],
)
def test_a_worker_dies_with_its_parent(end: str) -> None:
    assert has_ended(int(in_a_terminal(end)))


def test_a_worker_ends_with_its_pipe_whatever_it_is_at() -> None:
    """Where a parent's death sends no signal, and where Ctrl-C cost the parent the process's number."""
    command = [sys.executable, "-m", "autotune.profiler.serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, (eval, ("__import__('time').sleep(600)",), {}))  # type: ignore[arg-type]
        process.stdin.close()
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")
def test_ctrl_c_reaches_no_worker_not_even_one_that_still_starts() -> None:
    """A second press while the winner is proved in a new worker must not cost it."""
    presses = "os.killpg(0, signal.SIGINT)\n"
    code = (
        "signal.signal(signal.SIGINT, lambda *_: None)\nworker.start()\n"
        f"{presses}print(worker.call(len, 'abc', deadline_s=60))\n"
        f"{presses}print(worker.call(len, 'ab', deadline_s=60))\nworker.kill()"
    )
    assert in_a_terminal(code).split() == ["3", "2"]


def test_the_worker_loads_none_of_the_heavy_libraries() -> None:
    with Worker() as worker:
        loaded = worker.call(eval, "list(__import__('sys').modules)", deadline_s=30)  # what the worker itself imports
    assert not {"pandas", "sklearn", "xgboost", "optuna", "mlflow", "sqlalchemy"} & set(loaded)


def test_an_executor_survives_the_death_of_one_worker() -> None:
    with WorkerExecutor(2) as pool:
        assert isinstance(pool, Executor)
        broken = pool.submit(signal.raise_signal, signal.SIGKILL)
        good = [pool.submit(len, "abc") for _ in range(4)]
        assert [future.result(30) for future in good] == [3] * 4
        with pytest.raises(MeasurementError, match="SIGKILL"):
            broken.result(30)
        assert pool.submit(len, "ab").result(30) == 2
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(len, "a")
