"""The documents name what exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_every_command() -> None:
    from typer.main import get_command

    from autotune.cli import app

    commands = getattr(get_command(app), "commands", {})
    assert commands
    text = (ROOT / "README.md").read_text()
    assert [name for name in commands if f"autotune {name}" not in text] == []


def test_the_readme_lists_the_zoo() -> None:
    from autotune import models

    (row,) = (line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `models/`"))
    assert re.findall(r"`([a-z]+[0-9a-z_]*)`", row) == list(models.names())


def test_the_map_of_rooms_is_that_of_the_layers() -> None:
    (contract, *_) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer.removeprefix("autotune.") for layer in reversed(contract["layers"])]
    (line,) = re.findall(r"checks it\): (.*?)\. What", (ROOT / "AGENTS.md").read_text(), flags=re.DOTALL)
    assert [re.sub(r"(/|\.py)$", "", name) for name in re.findall(r"`([^`]+)`", line)] == layers


@pytest.mark.parametrize(
    "document", ["README.md", "AGENTS.md", "docs/decisions.md", "docs/architecture.md", "docs/splits.md"]
)
def test_places_that_a_document_links_to_exist(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []
