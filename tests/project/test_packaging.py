"""What is built and installed: links, the wheel, the dependencies of environments with their own ONNX Runtime."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKS = {
    "autotune/datasets": "../datasets",
    "autotune/models": "../models",
    "autotune/tracking": "../tracking",
    "autotune/cli.py": "../cli.py",
}


def tracked_files() -> list[Path]:
    """Files that belong to the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def copy_of_the_source(folder: Path) -> Path:
    """A copy without what earlier builds left."""
    ignored = shutil.ignore_patterns(".git", "build", "dist", "*.egg-info", ".*_cache", "__pycache__", ".venv", "venv")
    return Path(shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=ignored))


def build_wheel(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(target), str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("link", "target"), LINKS.items())
def test_links_are_relative_links(link: str, target: str) -> None:
    assert (ROOT / link).readlink() == Path(target)
    assert (ROOT / link).exists()


@pytest.mark.parametrize("room", ["datasets", "models", "tracking"])
def test_a_linked_room_says_how_it_is_imported(room: str) -> None:
    head = (ROOT / room / "__init__.py").read_text()
    assert f"autotune.{room}" in head.split('"""')[1]


@pytest.mark.slow
def test_the_wheel_holds_every_room_and_nothing_else_at_the_top(tmp_path: Path) -> None:
    built = build_wheel(copy_of_the_source(tmp_path), tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"autotune"}
    assert "autotune/py.typed" in names
    for room in ("core", "datasets", "models", "tracking"):
        assert f"autotune/{room}/__init__.py" in names
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "autotune").rglob("*.py")}
    assert sources <= set(names)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "text"])
def test_a_clone_without_links_is_refused_with_the_cure(tmp_path: Path, damage: str) -> None:
    source = copy_of_the_source(tmp_path)
    for link, target in LINKS.items():
        (source / link).unlink()
        if damage == "text":  # as git writes them where there are no symbolic links
            (source / link).write_text(target)
    built = build_wheel(source, tmp_path)
    assert built.returncode != 0
    assert "git config core.symlinks true" in built.stdout + built.stderr
    assert list(tmp_path.glob("*.whl")) == []


def test_the_list_without_onnxruntime_is_that_of_the_project() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (ROOT / "requirements-own-onnxruntime.txt").read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert listed == [name for name in wanted if not re.match(r"onnxruntime\b", name)]


def test_no_file_names_a_home_folder() -> None:
    pattern = re.compile(rb"/(?:home|Users)/[a-z][\w.-]*/|/root/")
    named = [path for path in tracked_files() if pattern.search(path.read_bytes())]
    assert [path.relative_to(ROOT) for path in named if path != Path(__file__).resolve()] == []


def test_no_file_is_a_model_a_data_base_or_large() -> None:
    odd = [path for path in tracked_files() if path.suffix in {".onnx", ".db", ".pkl"} or path.stat().st_size > 2**20]
    assert odd == []
