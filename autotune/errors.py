"""Every error that autotune raises, one tree.

A message says what was wrong, with the value, and what to do next. The command line prints the message and exits with
`exit_code`; a program catches `AutotuneError` or the built-in type beside it.

    AutotuneError
    +-- UsageError (ValueError)            a flag or an argument that cannot be meant        exit code 2
    |   +-- UnknownNameError               a name that is not among the known ones (lists them)
    |   +-- UnresolvedDimensionError       inputs whose dimensions need a value
    +-- ModelError (ValueError)            the ONNX file
    |   +-- ModelFileError                 not an ONNX file, truncated, external data missing or outside its folder
    |   +-- UnsupportedModelError          an operator that no provider here has
    |   +-- SplitError                     an operator that cannot be divided between lanes as asked
    +-- InputError (ValueError)            --inputs: wrong name, shape, type, or nothing in it
    +-- BadReferenceError (ValueError)       NaN or infinity in the reference outputs
    +-- ProcessorError (RuntimeError)      a processor, a lane or a session
    |   +-- MissingProcessorError          asked for a processor that is not here
    |   +-- SessionError                   a session could not be created or failed to run
    +-- PlanError (ValueError)             a plan folder: damaged, newer, of another device
    +-- StoreError (RuntimeError)          the home folder, a data base or a file in it
    |   +-- SchemaVersionError             written by a newer version
    +-- MeasurementError (RuntimeError)    nothing could be measured
    |   +-- DeviceBusyError                another process measures on this device
    |   +-- LatencyBoundError              no plan keeps the latency bound; the closest was written
    +-- PredictorError (RuntimeError)      a predictor: too few records, another device or schema
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class AutotuneError(Exception):
    """Root of the tree."""

    exit_code = 1


class UsageError(AutotuneError, ValueError):
    """A flag or an argument that cannot be meant."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not among the known ones.

    Args:
        what: what was looked up, for instance `model`.
        name: the name that was given.
        known: the names that exist.
        hint: what to do, when listing the known names does not say it.
    """

    def __init__(self, what: str, name: str, *, known: Iterable[str], hint: str = "") -> None:
        self.what = what
        self.name = name
        self.known = tuple(known)
        listed = ", ".join(self.known) or "none"
        super().__init__(f"unknown {what} {name!r}; known: {listed}." + (f" {hint}" if hint else ""))


class UnresolvedDimensionError(UsageError):
    """Inputs whose dimensions need a value; the message ends with flags to paste.

    Args:
        path: the model's file.
        what: the inputs as they are.
        inputs: shapes of all inputs; -1 where a dimension lacks a value, None where the rank is unknown.
        flags: what is missing, as (`--dim`, `height=VALUE`) or (`--shape`, `images=1,VALUE`).
    """

    def __init__(
        self, path: str, what: str, *, inputs: Mapping[str, tuple[int, ...] | None], flags: Iterable[tuple[str, str]]
    ) -> None:
        self.path = path
        self.inputs = dict(inputs)
        self.flags = tuple(flags)
        self.problem = f"{path}: dimensions without a value: {what}"
        super().__init__(f"{self.problem}. Add: {' '.join(f'{flag} {value}' for flag, value in self.flags)}")


class ModelError(AutotuneError, ValueError):
    """Something about the ONNX model."""


class ModelFileError(ModelError):
    """Not an ONNX file, a truncated one, or its external data is missing or outside its folder."""


class UnsupportedModelError(ModelError):
    """The model needs an operator that no provider here has."""


class SplitError(ModelError):
    """An operator, or a chain of them, that cannot be divided between lanes as asked."""


class InputError(AutotuneError, ValueError):
    """The given inputs do not fit the model."""


class BadReferenceError(AutotuneError, ValueError):
    """The reference outputs hold NaN or infinity, so that no plan can be compared with them."""


class ProcessorError(AutotuneError, RuntimeError):
    """A processor, a lane or a session."""


class MissingProcessorError(ProcessorError):
    """A processor was asked for that this machine or environment does not have."""


class SessionError(ProcessorError):
    """ONNX Runtime could not create a session or failed to run it."""


class PlanError(AutotuneError, ValueError):
    """A plan folder that is damaged, newer than this version, or made for another device or other inputs."""


class StoreError(AutotuneError, RuntimeError):
    """The home folder, a data base or a file in it."""


class SchemaVersionError(StoreError):
    """A stored file was written by a newer version.

    Args:
        path: the file.
        found: its schema version.
        known: the newest version that this code reads.
        cure: what to do besides upgrading.
    """

    def __init__(self, path: str, *, found: int, known: int, cure: str = "set AUTOTUNE_HOME to another folder") -> None:
        self.path = path
        self.found = found
        self.known = known
        super().__init__(
            f"{path} has schema version {found}, this autotune reads up to {known}: upgrade autotune, or {cure}."
        )


class MeasurementError(AutotuneError, RuntimeError):
    """Nothing could be measured."""


class DeviceBusyError(MeasurementError):
    """Another process measures on this device."""


class LatencyBoundError(MeasurementError):
    """No plan keeps the latency bound."""


class PredictorError(AutotuneError, RuntimeError):
    """A predictor that cannot be trained, loaded or used here."""
