"""Imports: what is public, what stays unloaded, and that rooms import only earlier ones."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autotune
from autotune import errors

HEAVY = ("mlflow", "onnx", "onnxruntime", "optuna", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy", "xgboost")
ROOT = Path(__file__).parents[2]
HELP = """
import sys
from autotune.cli import main
sys.argv = ["autotune", "--help"]
try:
    main()
except SystemExit as done:
    assert not done.code
"""


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter that ran `code`."""
    tail = (
        "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import autotune",
        "import autotune.errors, autotune.core",
        "import autotune.tracking",
        HELP,
    ],
    ids=["package", "core", "tracking", "help"],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_after(code) & set(HEAVY) == set()


def test_the_public_names_are_these() -> None:
    assert sorted(autotune.__all__) == [
        "__version__",
        "load_plan",
        "load_plans",
        "profile",
        "retrain",
        "search",
        "search_together",
    ]
    for name in autotune.__all__:
        assert getattr(autotune, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        autotune.nothing_like_it  # noqa: B018


def test_the_tree_in_the_docstring_is_the_tree_of_errors() -> None:
    drawn = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}((?:\|   )*)(?:\+-- )?(\w+Error)\b(?: \((\w+)\))?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + ("+--" in line)
        path[depth:] = [match[2]]
        drawn.append((match[2], path[depth - 1] if depth else "Exception", match[3]))
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
    assert {name for name, _, _ in drawn} == {cls.__name__ for cls in classes}
    for name, parent, builtin in drawn:
        cls = getattr(errors, name)
        assert cls.__bases__[0].__name__ == parent
        assert builtin is None or builtin in {base.__name__ for base in cls.__mro__}


def test_every_error_has_an_exit_code_that_the_command_line_promises() -> None:
    classes = [
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.AutotuneError)
    ]
    assert {cls.exit_code for cls in classes} == {1, 2}
    assert {cls for cls in classes if cls.exit_code == 2} == {c for c in classes if issubclass(c, errors.UsageError)}


def test_rooms_import_only_earlier_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout  # in a process of its own: it switches other loggers off
