"""Marginal costs of kernels: every kernel gets a record, also when one fails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from autotune.core import (
    Failure,
    FailureKind,
    Identity,
    Kernel,
    KernelNode,
    Lane,
    Measurement,
    ProfileRecord,
    Protocol,
    TensorSpec,
)
from autotune.errors import SessionError
from autotune.graph import build_kernel
from autotune.profiler import kernels, profile_kernels
from autotune.profiler import sentinel as sentinels
from autotune.profiler.following import SHARE, Following
from autotune.profiler.kernels import ROUGH, Enough, measure_here, settled
from autotune.profiler.probes import (
    Bound,
    Ends,
    Form,
    Probe,
    Surplus,
    ends_of,
    form_of,
    reference_kernel,
    reference_product,
    reference_rows,
)
from autotune.profiler.sentinel import Sentinel, disturbance, slowness

IDENTITY = Identity(device="d", provider="p 1", runtime="r 1", protocol=Protocol.MARGINAL)
SMALL = reference_kernel(4, 8)
ROW = TensorSpec(name="i0", dtype="float32", shape=(8, 64))
POOL = Kernel(
    family="pooling",
    nodes=(
        KernelNode(
            op_type="MaxPool",
            inputs=("i0",),
            outputs=("o0",),
            attributes=(("kernel_shape", (2, 2)), ("strides", (2, 2))),
        ),
    ),
    inputs=(TensorSpec(name="i0", dtype="float32", shape=(1, 8, 8, 8)),),
    outputs=(TensorSpec(name="o0", dtype="float32", shape=(1, 8, 4, 4)),),
    opset=17,
    flops=0,
)


def records(
    wanted: Sequence[Kernel], lane: str, *, rounds: int = 4, deadline_s: float = 120.0, rough: Sequence[str] = ()
) -> list[ProfileRecord]:
    found: list[ProfileRecord] = []
    profile_kernels(
        wanted,
        Lane.parse(lane),
        identity=IDENTITY,
        rounds=rounds,
        round_s=0.001,
        deadline_s=deadline_s,
        on_record=found.append,
        rough=rough,
    )
    return found


def probe_with(samples: list[tuple[float, float]]) -> Probe:
    probe = object.__new__(Probe)
    probe.kernel, probe.form, probe.ends, probe.samples = SMALL, Form.ALONE, Ends.MEANS, samples
    return probe


@pytest.mark.parametrize("lane", ["cpu/f32/t1", "cpu/f32/t2"])
def test_every_kernel_gets_a_positive_cost(lane: str) -> None:
    found = records([SMALL, reference_kernel(8, 8)], lane)
    assert [record.kernel for record in found] == [SMALL, reference_kernel(8, 8)]
    assert all(isinstance(record.result, Measurement) and record.result.median_us > 0 for record in found)
    assert all(record.identity == IDENTITY and str(record.lane) == lane for record in found)


@pytest.mark.parametrize(("deaths", "failed"), [(1, False), (9, True)])
def test_one_death_before_the_first_kernel_does_not_condemn_the_lane(
    monkeypatch: pytest.MonkeyPatch, deaths: int, failed: bool
) -> None:
    class Dying:
        left = deaths

        def __enter__(self) -> Dying:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def stream(self, _function: object, waiting: list[object], *_: object, **__: object) -> Iterator[object]:
            if self.left:
                self.left -= 1
                yield Failure(kind=FailureKind.MEMORY, message="killed by signal SIGKILL (out of memory?)")
                return
            for at in range(len(waiting)):
                yield ("running", at)
                yield ("record", at, Measurement(samples_us=(1.0,)), (1.0, 0.0))

    monkeypatch.setattr("autotune.profiler.kernels.Worker", Dying)
    found = records([SMALL, reference_kernel(8, 8)], "cpu/f32/t1")
    assert [isinstance(record.result, Failure) for record in found] == [failed, failed]


def test_a_kernel_that_hangs_is_a_failure_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        def __enter__(self) -> Hanging:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def stream(self, _: object, waiting: list[Kernel], *_args: object, silence_s: float, **__: object) -> object:
            assert silence_s < 60.0  # seconds: less than the lane has
            for at, kernel in enumerate(waiting):
                yield ("running", at)
                if kernel == SMALL:
                    yield Failure(kind=FailureKind.HANG, message="no sign of life")
                    return
                yield ("record", at, Measurement(samples_us=(1.0,)), (1.0, 0.0))

    monkeypatch.setattr("autotune.profiler.kernels.Worker", Hanging)
    found = records([reference_kernel(8, 8), SMALL, reference_kernel(16, 8)], "cpu/f32/t1")
    assert [(record.kernel == SMALL, isinstance(record.result, Failure)) for record in found] == [
        (False, False),
        (True, True),
        (False, False),
    ]


def test_a_median_settles_where_rounds_agree_and_one_outlier_does_not_matter() -> None:
    agreeing = [(100.0 + at % 2, 0.0) for at in range(6)]
    assert settled(probe_with(agreeing), {}, [1.0] * 6)
    assert not settled(probe_with(agreeing[:5]), {}, [1.0] * 5)
    assert settled(probe_with([*agreeing, *agreeing, (120.0, 0.0)]), {}, [1.0] * 13)
    assert not settled(probe_with([(100.0 + 20 * (at % 2), 0.0) for at in range(6)]), {}, [1.0] * 6)


def test_what_is_only_learnt_from_settles_sooner() -> None:
    assert settled(probe_with([(100.0 + at, 0.0) for at in range(3)]), {}, [1.0] * 3, ROUGH)
    assert not settled(probe_with([(100.0 + at, 0.0) for at in range(2)]), {}, [1.0] * 2, ROUGH)
    assert not settled(probe_with([(100.0 + 20 * at, 0.0) for at in range(3)]), {}, [1.0] * 3, ROUGH)


class Here:
    """A worker that is this process."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stream(self, function: Any, *given: Any, **_: float) -> Iterator[Any]:
        yield from function(*given)


def test_what_is_only_learnt_from_has_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "ROUGH", Enough(samples=3, error=math.inf))
    monkeypatch.setattr(kernels, "Worker", Here)
    monkeypatch.setattr(Sentinel, "_look", lambda _: (8.0, 8.0, 8.0))  # no neighbour: all rounds are calm
    other = reference_kernel(4, 16)
    found = records([SMALL, other], "cpu/f32/t1", rounds=6, rough=[other.signature])
    samples = {
        record.kernel: len(record.result.samples_us) for record in found if isinstance(record.result, Measurement)
    }
    assert samples == {SMALL: 6, other: 3}


def test_rounds_on_a_slow_machine_settle_nothing() -> None:
    assert not settled(probe_with([(100.0, 0.0)] * 6), {}, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


def test_a_kernel_that_cannot_run_is_a_failure_and_the_others_go_on() -> None:
    wrong = replace(SMALL, nodes=(replace(SMALL.nodes[0], op_type="NoSuchOperator"), SMALL.nodes[1]))
    found = {record.kernel.ops: record.result for record in records([wrong, SMALL], "cpu/f32/t1")}
    assert isinstance(found["NoSuchOperator+Relu"], Failure)
    assert isinstance(found["Conv+Relu"], Measurement)


def test_a_lane_that_is_not_here_gives_failures_and_ends() -> None:
    found = records([SMALL], "nothing:gpu/f32")
    assert [isinstance(record.result, Failure) for record in found] == [True]


def test_kernels_that_cannot_be_built_are_skipped() -> None:
    assert records([replace(SMALL, buildable=False, family="other")], "cpu/f32/t1") == []


def test_nothing_is_measured_after_the_deadline() -> None:
    assert records([SMALL], "cpu/f32/t1", deadline_s=0.0) == []


def test_what_time_allows_is_kept_when_a_group_is_too_long_for_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of kernels on a slow device: each round takes longer than the whole deadline allows for all of them."""
    clock = Clock()
    monkeypatch.setattr(kernels, "time", clock)

    class Slow:
        samples: list[tuple[float, float]]

        def __init__(self, kernel: object, lane: object, **_: object) -> None:
            clock.now += 1.0
            self.alone, self.samples = self, []

        def sample_us(self, _: float) -> float:
            return 1.0

        def rounds(self, wanted: int) -> int:
            return wanted

        def take(self, _: float) -> None:
            clock.now += 1.0
            self.samples.append((1.0, 0.0))

        @property
        def alone_us(self) -> list[float]:
            return [1.0] * len(self.samples)

        def result(self, *_: object) -> Measurement:
            return Measurement(samples_us=(1.0,))

    monkeypatch.setattr(kernels, "Probe", Slow)
    monkeypatch.setattr(kernels, "Sentinel", Still)
    monkeypatch.setattr(kernels, "measure_surplus", lambda *_, **__: Surplus())
    items = list(measure_here([SMALL] * 40, Lane.parse("cpu/f32/t1"), 12, 0.001, 0, 30.0))
    assert clock.now < 30.0
    assert len([item for item in items if item[0] == "record"]) >= 5
    assert items[-1] == ("late",)


def test_rounds_on_a_slow_machine_do_not_count_where_others_are_there() -> None:
    probe = probe_with([(10.0, 0.0), (10.2, 0.0), (25.0, 0.0), (9.8, 0.0)])
    assert probe.result({}, [1.0, 1.0, 2.0, 1.0]).samples_us == (10.0, 10.2, 9.8)


def test_where_the_machine_was_slow_all_the_time_each_round_is_brought_to_its_fastest() -> None:
    probe = probe_with([(20.0, 0.0), (10.0, 0.0), (30.0, 0.0)])
    assert probe.result({}, [2.0, 1.0, 3.0]).samples_us == pytest.approx((10.0, 10.0, 10.0))


def test_a_round_is_as_slow_as_most_of_the_sentinel_before_and_after_it() -> None:
    fastest = (100.0, 10.0, 1.0)
    assert slowness([fastest, fastest, (300.0, 20.0, 1.0)], fastest) == [1.0, 1.5]


def test_the_kernel_that_was_slowed_most_tells_a_disturbance() -> None:
    fastest = (100.0, 10.0, 1.0)
    assert disturbance([fastest, fastest, (140.0, 10.0, 1.0)], fastest) == pytest.approx(1.1)
    assert slowness([fastest, fastest, (140.0, 10.0, 1.0)], fastest) == [1.0, 1.0]


def test_a_provider_without_some_operator_is_watched_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(SMALL, nodes=(replace(SMALL.nodes[0], op_type="NoSuchOperator"), SMALL.nodes[1]))
    monkeypatch.setattr(sentinels, "KERNELS", (SMALL, wrong))
    assert len(Sentinel(Lane.parse("cpu/f32/t1")).mark()) == 1
    monkeypatch.setattr(sentinels, "KERNELS", (wrong, wrong))
    with pytest.raises(SessionError, match="NoSuchOperator"):
        Sentinel(Lane.parse("cpu/f32/t1"))


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_how_much_kernels_follow_the_sentinel_is_learnt(share: float) -> None:
    following = Following()
    assert following.of([1.0, 16.0]) == pytest.approx([1.0, 8.0])  # before anything is known
    for level in range(1, 30):
        slower = [1.0, 1.01, 1.4, 1.38, 1.0]
        following.learn([level * factor**share for factor in slower], slower)
    assert following.of([1.4])[0] == pytest.approx(1.4**share, rel=0.02)


def test_a_calm_sentinel_teaches_nothing_about_what_follows_it() -> None:
    following = Following()
    for _ in range(1000):
        following.learn([1.0, 1.0, 1.0], [1.0, 1.02, 0.99])
    assert following.share == pytest.approx(SHARE)


def test_a_disturbed_machine_is_waited_for_a_fifth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(sentinels, "time", clock)

    def waited(*looks: float, after_s: float) -> list[float]:
        """What it sees after one that is twice as slow, so many seconds after it was opened."""
        sentinel = object.__new__(Sentinel)
        sentinel._marks, sentinel._patience, sentinel._waited_s = [(1.0, 1.0, 1.0)] * 9, 0.2, 0.0
        sentinel._opened, sentinel._known_us = clock.now - after_s, 0.0
        coming = iter(looks)
        monkeypatch.setattr(sentinel, "_look", lambda: (1.0, next(coming), 1.0))
        return [mark[1] for mark in sentinel.calmer((1.0, 2.0, 1.0))]

    assert waited(1.9, 1.5, 1.1, 1.0, after_s=100.0) == [1.9, 1.5, 1.1]
    assert len(waited(*[2.0] * 99, after_s=8.0)) * sentinels.LOOK_S == pytest.approx(2.0, abs=1.1 * sentinels.LOOK_S)
    assert waited(after_s=0.0) == []
    longest = len(waited(*[2.0] * 999, after_s=1e3)) * sentinels.LOOK_S
    assert longest == pytest.approx(sentinels.LONGEST_WAIT_S, abs=1.1 * sentinels.LOOK_S)


@pytest.mark.parametrize(("known_us", "fastest"), [(0.0, 8.0), (4.0 * 1.5, 6.0), (9.0, 8.0), (3.0, 8.0)])
def test_a_process_that_begins_beside_a_neighbour_knows_how_fast_the_machine_was(
    known_us: float, fastest: float
) -> None:
    sentinel = object.__new__(Sentinel)
    sentinel._marks, sentinel._known_us = [(8.0, 8.0)] * 9, known_us  # 3: so much faster was another machine
    assert sentinel.fastest == pytest.approx((fastest, fastest))
    assert sentinel.level_us == pytest.approx(fastest)
    assert slowness([(8.0, 8.0)] * 2, sentinel.fastest) == pytest.approx([8.0 / fastest])


def test_kernels_are_measured_against_the_fastest_that_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sentinel, "_look", lambda _: (8.0, 8.0, 8.0))
    items = measure_here([SMALL], Lane.parse("cpu/f32/t1"), 4, 0.001, 0, 60.0, 6.0)
    ((ratio, level_us),) = [item[3] for item in items if item[0] == "record"]
    assert level_us == pytest.approx(6.0)
    assert ratio == pytest.approx(8.0 / 6.0)


def test_the_record_says_what_the_sentinel_took() -> None:
    (found,) = records([SMALL], "cpu/f32/t1")
    assert found.notes.sentinel_us > 0
    assert found.notes.slower_when(2 * found.notes.sentinel_us) == 2.0


def test_what_copies_side_by_side_pay_each_is_taken_off_their_slope() -> None:
    probe = object.__new__(Probe)
    probe.kernel, probe.form, probe.ends = SMALL, Form.FAN, Ends.SMALL
    probe.samples = [(30.0, 12.0), (31.0, 12.5)]
    per_byte_us = 2.0 / SMALL.bytes_written
    surplus = {Ends.SMALL: Surplus(call_us=99.0, copy_us=1.0, copy_per_byte_us=per_byte_us)}
    assert probe.result(surplus, [1.0, 1.0]).samples_us == pytest.approx((9.0, 9.5))


@pytest.mark.parametrize(("op_type", "beyond_us"), [("Transpose", 1.0 + 0.1 * 5), ("Gather", 1.0 + 0.1 * 2)])
def test_of_what_is_picked_from_only_that_is_read(op_type: str, beyond_us: float) -> None:
    rows, some = replace(ROW, shape=(4, 64)), replace(ROW, name="o0", shape=(1, 64))
    node = KernelNode(op_type=op_type, inputs=("i0",), outputs=("o0",))
    probe = object.__new__(Probe)
    probe.kernel = replace(POOL, family="data_movement", nodes=(node,), inputs=(rows,), outputs=(some,))
    probe.form, probe.ends, probe.samples = Form.ALONE, Ends.PLAIN, [(30.0, 0.0)]
    surplus = {Ends.PLAIN: Surplus(call_us=1.0, per_byte_us=0.1 / some.bytes)}
    assert probe.result(surplus, [1.0]).samples_us == pytest.approx((30.0 - beyond_us,))


def test_light_work_shows_what_a_call_takes_and_copies_of_it_stay_apart() -> None:
    light = reference_rows(4, 8)
    (found,) = records([light], "cpu/f32/t1")
    assert isinstance(found.result, Measurement)
    assert form_of(light) is Form.CHAIN
    nodes = [node.op_type for node in build_kernel(light, copies=3).graph.node]
    assert nodes == ["Softmax"] * 3


def test_behind_convolutions_what_averages_inputs_and_outputs_is_evened_out() -> None:
    probe = object.__new__(Probe)
    probe.kernel, probe.form, probe.ends = POOL, Form.BEHIND, Ends.MEANS
    probe.samples = [(400.0, 5.0), (400.0, 5.5)]
    saved = POOL.bytes_read - POOL.bytes_written  # bytes that are averaged without the kernel, and not with it
    surplus = {Ends.MEANS: Surplus(call_us=99.0, copy_us=1.0, copy_per_byte_us=2.0 / saved)}
    assert probe.result(surplus, [1.0, 1.0]).samples_us == pytest.approx((7.0, 7.5))
    probe.samples = [(400.0, -2.5), (400.0, -3.0)]  # nothing of a hundred times as much work beside it
    assert probe.result(surplus, [1.0, 1.0]).samples_us == pytest.approx((0.3, 0.3))


def test_what_averages_images_behind_convolutions_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    image = reference_kernel(8, 16)
    probe = Probe(image, Lane.parse("cpu/f32/t1"), shared_pool=False, seed=0, form=Form.ENDS)
    assert probe.copies is not None
    known = {probe.less: 100.0, probe.copies: 100.0 + probe.more * (0.5 + 1e-4 * image.bytes_read)}
    monkeypatch.setattr(Bound, "sample_us", lambda self, _: known[self])
    probe.take(0.001)
    assert probe.median_us([1.0])[1] == pytest.approx(0.5 + 1e-4 * image.bytes_read)


@pytest.mark.parametrize("lane", ["cpu/f32/t1", "cpu/f32/t2"])
def test_a_pooling_is_measured_between_convolutions(lane: str) -> None:
    (found,) = records([POOL], lane)
    assert isinstance(found.result, Measurement)
    probe = Probe(POOL, Lane.parse("cpu/f32/t1"), shared_pool=False, seed=0)
    assert (probe.form, probe.ends) == (Form.BEHIND, Ends.MEANS)


@pytest.mark.parametrize(
    ("kernel", "form"),
    [
        (POOL, Form.BEHIND),
        (replace(POOL, inputs=(ROW,)), Form.ALONE),
        (replace(POOL, family="data_movement", nodes=(replace(POOL.nodes[0], op_type="Transpose"),)), Form.ALONE),
        (SMALL, Form.CHAIN),
        (replace(SMALL, outputs=(replace(SMALL.outputs[0], shape=(1, 8, 8, 8)),)), Form.FAN),
        (replace(SMALL, outputs=(replace(SMALL.outputs[0], shape=(1, 8, 8, 8)),), weights=()), Form.ALONE),
    ],
)
def test_a_kernel_is_copied_in_a_row_or_side_by_side_where_it_can_be(kernel: Kernel, form: Form) -> None:
    assert form_of(kernel) is form


def test_ends_of_images_are_small_where_a_provider_compiles() -> None:
    assert ends_of(SMALL, Lane.parse("openvino:cpu/f32")) is Ends.SMALL
    assert ends_of(SMALL, Lane.parse("cpu/f32/t1")) is Ends.MEANS
    assert ends_of(reference_product(4, 8), Lane.parse("openvino:cpu/f32")) is Ends.ROWS
    numbers = replace(SMALL, outputs=(replace(SMALL.outputs[0], dtype="int64"),))
    assert ends_of(numbers, Lane.parse("openvino:cpu/f32")) is Ends.PLAIN


class Still:
    """The sentinel of a machine that is always as fast."""

    fastest, level_us = (1.0,), 1.0

    def __init__(self, _: Lane, **__: float) -> None: ...

    def mark(self) -> tuple[float, ...]:
        return self.fastest

    def calmer(self, _: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
        return iter(())


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now
