"""Sessions whose failures say which stage failed, and where it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.core import Lane, one_line
from autotune.errors import SessionError
from autotune.processors import SessionSpec, create_session


class NamedSession:
    """A session whose `run` raises errors of ours; everything else is the inner session's.

    Args:
        session: of one stage.
        stage: what to call it.
    """

    def __init__(self, session: Any, stage: str) -> None:
        self._session = session
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any], options: Any = None) -> Any:
        """As `onnxruntime.InferenceSession.run`.

        Raises:
            SessionError: it failed.
        """
        try:
            return self._session.run(names, feeds, options)
        except Exception as error:  # ONNX Runtime's own have no root of their own
            reason = one_line(error) or type(error).__name__
            raise SessionError(f"{self._stage} failed: {reason}. Check the values of the inputs.") from error


def named_session(model: str | Path, lane: Lane | SessionSpec, *, cache: Path | None = None) -> Any:
    """`create_session` for a stage's file, with its name and lane in what `run` raises."""
    return NamedSession(create_session(model, lane, cache=cache), f"the stage {Path(model).name} on {lane}")
