"""What every command stands on: home folder, device, processors, store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.core import Device, Observer, Processor
from autotune.errors import MissingProcessorError, StoreError
from autotune.processors import Discovery, discover, this_device
from autotune.profiler import device_lock
from autotune.profiler.lock import named


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Home folder, device and processors of one command.

    Args:
        home: records, predictors, plans, tracking.
        work: temporary folder of this command.
        device: this machine.
        discovery: all processors found.
        processors: those in use.
    """

    home: Path
    work: Path
    device: Device
    discovery: Discovery
    processors: tuple[Processor, ...]

    @property
    def store_url(self) -> str:
        """Where profile records are kept."""
        return f"sqlite:///{self.home / 'profiles.db'}"

    def processor(self, name: str) -> Processor:
        """The processor of this name."""
        return self.discovery.get(name)

    def at_float32(self) -> Workplace:
        """The same where nothing below float32 is wanted: it is not measured either.

        Raises:
            MissingProcessorError: no processor in use computes in float32.
        """
        exact = [replace(p, precisions=tuple(one for one in p.precisions if one.is_reference)) for p in self.processors]
        kept = tuple(processor for processor in exact if processor.precisions)
        if not kept:
            names = ", ".join(processor.name for processor in self.processors)
            raise MissingProcessorError(f"--precision float32: {names} computes in lower precisions only; try any")
        return replace(self, processors=kept)


@contextmanager
def open_workplace(home: Path | None, processors: Sequence[str] = ()) -> Iterator[Workplace]:
    """Home folder, device and processors; the temporary folder is removed at the end.

    Raises:
        StoreError: the home folder cannot be written.
        MissingProcessorError: a processor was asked for that is not here.
    """
    from autotune.datasets import home as default_home

    place = home if home is not None else default_home()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise StoreError(
            f"the home folder {place} cannot be written ({error}); set AUTOTUNE_HOME to another."
        ) from error
    discovery = discover(cache=place / "cache")
    chosen = tuple(discovery.get(name) for name in processors) or discovery.processors
    with tempfile.TemporaryDirectory(prefix="autotune-", ignore_cleanup_errors=True) as work:
        yield Workplace(home=place, work=Path(work), device=this_device(), discovery=discovery, processors=chosen)


@contextmanager
def measuring_workplace(home: Path | None, observer: Observer, *, wait_s: float) -> Iterator[Workplace]:
    """The same, with the device held: no other process measures meanwhile.

    Raises:
        StoreError: the home folder cannot be written.
        DeviceBusyError: another process still measures after `wait_s` seconds.
    """
    with open_workplace(home) as place, hold_device(place, observer, wait_s=wait_s):
        yield place


class Guarded:
    """An observer that cannot stop the work: what it raises is dropped.

    Args:
        inner: the observers to pass things on to.
    """

    def __init__(self, *inner: Observer) -> None:
        self._inner = inner

    def _each(self, call: Callable[[Observer], None]) -> None:
        for observer in self._inner:
            with suppress(Exception):  # an observer must never stop a search
                call(observer)

    def progress(self, phase: str, done: int, total: int, *, text: str = "") -> None:
        """Passed on."""
        self._each(lambda observer: observer.progress(phase, done, total, text=text))

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Passed on."""
        self._each(lambda observer: observer.event(name, fields))


def hold_device(place: Workplace, observer: Observer, *, wait_s: float) -> AbstractContextManager[None]:
    """Keeps other processes from measuring on this device; who waits for them is told.

    Args:
        place: whose home folder has a lock of its own.
        observer: is told which process is waited for.
        wait_s: seconds to wait.

    Raises:
        DeviceBusyError: the other process still measures after that (when the context is entered).
    """
    return device_lock(
        place.home,
        wait_s=wait_s,
        on_wait=lambda pid: observer.progress("wait", 0, 0, text=f"waiting for {named(pid)}"),
    )
