"""Public tables by name. A further one is a `Source` in a file of its own and a line here."""

from __future__ import annotations

from autotune.datasets.public import hope, nas, tuned, usc
from autotune.datasets.public.source import Source
from autotune.errors import InputError, UnknownNameError

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        hope.OPERATORS, hope.TRANSFERS, usc.OPERATORS, usc.MODELS, nas.NB201, nas.FBNET, nas.HAT, tuned.HUB,
        tuned.TOPHUB,
    )
}  # fmt: skip


def source(name: str) -> Source:
    """The table with this name.

    Raises:
        UnknownNameError: there is none; lists the known ones.
    """
    if name not in SOURCES:
        raise UnknownNameError("data set", name, known=sorted(SOURCES))
    return SOURCES[name]


def recognise(columns: list[str], stem: str) -> Source:
    """The table that a file is, by its name, else by its columns.

    Raises:
        InputError: it could be none of them, or several.
    """
    if stem in SOURCES:
        return SOURCES[stem]
    fitting = [one for one in SOURCES.values() if set(one.columns) <= set(columns)]
    if len(fitting) != 1:
        found = "several tables" if fitting else "no table that is known"
        raise InputError(
            f"a file with the columns {', '.join(columns[:8])}, … could be {found}: "
            f"say which with --as, one of {', '.join(sorted(SOURCES))}."
        )
    return fitting[0]
