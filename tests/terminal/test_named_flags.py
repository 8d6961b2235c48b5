"""Messages and documents name flags that exist, and show commands that can be pasted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from autotune.cli import app

ROOT = Path(__file__).parents[2]
CODE = ("autotune", "datasets", "models", "tracking")
DOCUMENTS = ("README.md", "AGENTS.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(r"(?<![./\w])autotune ((?:datasets )?[a-z-]+)([^`\n|]*)")
OF_OTHERS = {"--upgrade", "--host", "--workers", "--backend-store-uri", "--artifacts-destination",
             "--default-artifact-root", "--port", "--home"}  # fmt: skip
"""Of pip, of MLflow's server, of a script in benchmarks/."""
ASKING = {"--help", "--json"}


def commands() -> dict[str, Any]:
    """By name as it is typed."""
    found: dict[str, Any] = {}
    for name, command in getattr(get_command(app), "commands", {}).items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {part}": each for part, each in inner.items()} if inner else {name: command}
    return found


def flags(command: Any, *, required: bool = False) -> set[str]:
    return {flag for one in command.params if one.required or not required for flag in one.opts if flag[:2] == "--"}


def sayings() -> Iterator[tuple[str, str]]:
    """Every text in the code, `{}` for what is put into it, with its place."""
    for room in CODE:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.JoinedStr):
                    parts = (str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
                    yield place, "".join(parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield place, node.value


def test_a_flag_that_a_message_names_exists() -> None:
    known = {"--version", *ASKING, *OF_OTHERS}.union(*map(flags, commands().values()))
    named = [(place, flag) for place, text in sayings() for flag in FLAG.findall(text)]
    assert len(named) > 50
    assert [(place, flag) for place, flag in named if flag not in known] == []


def test_a_command_that_is_shown_has_its_flags_and_all_that_it_needs() -> None:
    known = commands()
    texts = [*sayings(), *((name, (ROOT / name).read_text(encoding="utf-8")) for name in DOCUMENTS)]
    shown = [
        (place, name, set(FLAG.findall(rest))) for place, text in texts for name, rest in COMMAND.findall(text)
        if name in known
    ]  # fmt: skip
    assert len({name for _, name, _ in shown}) > 10
    unknown = [(place, name, given - flags(known[name]) - ASKING) for place, name, given in shown]
    assert [each for each in unknown if each[2]] == []
    lacking = [
        (place, name, flags(known[name], required=True) - given) for place, name, given in shown if given - ASKING
    ]
    assert [each for each in lacking if each[2]] == []
