"""Joint jobs measured in real processes, and how requests are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotune.core import Failure
from autotune.profiler import Job, JointJob, JointTimes, measure_together
from autotune.profiler.together import _times


def test_every_model_gets_throughput_and_latencies(job: Job) -> None:
    one, two = replace(job, name="one"), replace(job, name="two", callers=2)
    seen: list[int] = []
    free = JointJob(name="free", members=(one, two))
    turns = JointJob(name="turns", members=(one, two), turns=(("one", "two"),), weights=(("one", 2.0),))
    found = measure_together(
        [free, turns], launches=1, span_s=0.05, warm_s=0.01, deadline_s=60, on_result=lambda at, _: seen.append(at)
    )
    assert sorted(seen) == [0, 1]
    for launches in found:
        for result in launches:
            assert isinstance(result, JointTimes)
            assert len(result.members) == 2
            assert all(member.each_us > 0 and member.latencies_us for member in result.members)


def test_a_job_that_cannot_run_fails_alone_and_only_once(job: Job) -> None:
    good, bad = job, replace(job, name="two", feeds=job.feeds + ".none")
    jobs = [JointJob(name="good", members=(good,)), JointJob(name="bad", members=(good, bad))]
    found = measure_together(jobs, launches=2, span_s=0.02, warm_s=0.01, deadline_s=60)
    assert all(isinstance(result, JointTimes) for result in found[0])
    assert all(isinstance(result, Failure) for result in found[1])
    assert found[1][0] is found[1][1]


def test_asked_to_stop_it_ends_after_a_launch(job: Job) -> None:
    jobs = [JointJob(name="one", members=(job,))]
    found = measure_together(jobs, launches=5, span_s=0.01, warm_s=0.0, deadline_s=60, stop=lambda: True)
    assert len(found[0]) == 1


def test_a_request_partly_in_the_span_counts_as_that_part() -> None:
    times = _times([(0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (6.0, 8.0)], 1.0, 5.0, 1)
    assert times.each_us == pytest.approx(2e6)
    assert len(times.latencies_us) == 3
    assert _times([(0.0, 2.0), (2.0, 4.0)], 0.0, 4.0, 4).each_us == pytest.approx(0.5e6)


def test_a_model_that_never_had_its_turn_counts_as_one_long_request() -> None:
    times = _times([(5.0, 6.0)], 1.0, 2.0, 1)
    assert times.each_us == pytest.approx(5e6)
    assert times.latencies_us == pytest.approx((5e6,))
