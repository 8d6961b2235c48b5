"""What a command lacks, as the whole command to paste."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autotune.errors import UnresolvedDimensionError, UsageError


@contextmanager
def dimensions_to_paste(models: Sequence[str], *, takes_inputs: bool = False) -> Iterator[None]:
    """Says of dimensions without a value how the command would be with them.

    Args:
        models: as the command names them; where there are several, the flags say which one they mean.
        takes_inputs: whether the command has `--inputs`, which settle them too.

    Raises:
        UsageError: instead of UnresolvedDimensionError, with the command.
    """
    try:
        yield
    except UnresolvedDimensionError as error:
        from autotune.api.together_settings import Participant

        whose = f"{Participant(model=error.path).name}:" if len(models) > 1 else ""
        added = [part for flag, value in error.flags for part in (flag, whose + value)]
        command = shlex.join(["autotune", *sys.argv[1:], *added])
        inputs = "Real inputs settle them too (--inputs FILE.npz). " if takes_inputs else ""
        raise UsageError(f"{error.problem}. {inputs}With a number for each VALUE:\n{command}") from error
