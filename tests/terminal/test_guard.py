"""Errors to messages."""

from __future__ import annotations

import errno
import os

import pytest

from autotune.terminal.guard import exit_codes


def said(error: OSError, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise error
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_a_full_disk_names_the_places_that_may_be_full(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), capsys)
    assert "TMPDIR" in text
    assert "--output" in text
    assert "AUTOTUNE_HOME" in text


def test_another_failure_names_its_file_and_not_the_space(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(PermissionError(errno.EACCES, "Permission denied", "/some/model.onnx"), capsys)
    assert "Permission denied (/some/model.onnx)" in text
    assert "space" not in text
