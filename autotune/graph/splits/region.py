"""A part of an operator: which range of its output, and what that needs of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from autotune.errors import SplitError
from autotune.graph.operators import attribute

Shape = tuple[int, ...]
Array = np.ndarray[Any, Any]
AttributeOverride = int | str | list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A range of a tensor along one axis.

    Args:
        axis: which axis, counted from 0.
        start: first index.
        stop: one past the last.

    Raises:
        SplitError: the range is empty.
    """

    axis: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise SplitError(f"a part would be empty: {self.start} to {self.stop} along axis {self.axis}")

    @property
    def length(self) -> int:
        """How many indices."""
        return self.stop - self.start

    def hull(self, other: Region) -> Region | None:
        """The smallest range that holds both; None where they lie along different axes."""
        if self.axis != other.axis:
            return None
        return Region(axis=self.axis, start=min(self.start, other.start), stop=max(self.stop, other.stop))

    def of(self, shape: Shape) -> Shape:
        """The shape of this part of a tensor."""
        return (*shape[: self.axis], self.length, *shape[self.axis + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an operator.

    Args:
        needs: per input, the range that it takes; None: all of it.
        attributes: those that differ from the whole operator's.
        values: constant inputs that differ from the whole operator's, by position.
    """

    needs: tuple[Region | None, ...]
    attributes: Mapping[str, AttributeOverride] = field(default_factory=dict)
    values: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """An operator with what a rule must know of it.

    Args:
        node: the ONNX node.
        shapes: of its inputs; None for one that is absent.
        output: shape of its output.
        opset: version of the standard operator set.
        constants: values of small constant inputs, by position.
    """

    node: onnx.NodeProto
    shapes: tuple[Shape | None, ...]
    output: Shape
    opset: int
    constants: Mapping[int, Array]

    def shape(self, at: int) -> Shape:
        """Shape of an input that must be there.

        Raises:
            SplitError: it is absent.
        """
        found = self.shapes[at] if at < len(self.shapes) else None
        if found is None:
            raise self.refusal(f"its input {at} is absent")
        return found

    def number(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = attribute(self.node, name, default)
        return value if isinstance(value, int) else default

    def numbers(self, name: str, default: Sequence[int]) -> list[int]:
        """A list of integers."""
        value = attribute(self.node, name, None)
        return [int(item) for item in value] if isinstance(value, (list, tuple)) else list(default)

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = attribute(self.node, name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def refusal(self, reason: str) -> SplitError:
        """The error that says why this operator cannot be divided so."""
        return SplitError(f"{self.node.op_type} {self.node.name!r} cannot be divided: {reason}")

    def broadcast(self, region: Region, at: int) -> Region | None:
        """The range of an input that is broadcast to the output; None: all of it."""
        found = self.shapes[at]
        if found is None:
            return None
        axis = region.axis - (len(self.output) - len(found))
        if axis < 0 or found[axis] == 1:
            return None
        return Region(axis=axis, start=region.start, stop=region.stop)


Rule = Callable[[Op, Region], Part]
"""What a range of an operator's output needs. Raises SplitError where that range cannot be computed alone."""
