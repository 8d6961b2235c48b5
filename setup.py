"""Refuses to build without the linked folders; everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup

LINKS = ("autotune/datasets", "autotune/models", "autotune/tracking", "autotune/cli.py")

CURE = """
{missing} in this copy of the source should lead to places at the top level, but do not: it was cloned
or unpacked without symbolic links. A wheel built from it would lack parts of autotune. To mend a clone:

    git config core.symlinks true
    git checkout HEAD -- {links}

On Windows turn Developer Mode on first (Settings > System > For developers), or clone inside WSL.
"""


def broken_links(root: Path) -> list[str]:
    """The links that do not lead to a package with an `__init__.py`, or to a module."""
    paths = {link: root / link if link.endswith(".py") else root / link / "__init__.py" for link in LINKS}
    # without symbolic links git writes a small text file that holds the link's target, `../cli.py`
    return [link for link, path in paths.items() if not path.is_file() or path.read_bytes()[:3] == b"../"]


if missing := broken_links(Path(__file__).parent):
    sys.exit(CURE.format(missing=", ".join(missing), links=" ".join(LINKS)))

setup()
