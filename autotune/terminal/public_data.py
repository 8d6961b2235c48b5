"""Public tables for people: what can be imported, cards, what a check of them and of the own records found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.datasets import Store
from autotune.datasets.public import SOURCES, read_card, source, verify
from autotune.datasets.public.importing import folder_of
from autotune.errors import StoreError
from autotune.terminal.tables import console, rows_table

OWN = "own records"
"""What a check calls the records of this device."""


def imported(home: Path) -> list[str]:
    """Names of the data sets that are in the home folder."""
    return [name for name in SOURCES if (folder_of(home, name) / "card.json").exists()]


def list_json(home: Path) -> dict[str, Any]:
    """Every known table, and whether it was imported."""
    here = imported(home)
    rows = [
        {
            "name": one.name,
            "level": one.level,
            "licence": one.licence,
            "source": one.origin,
            "imported": one.name in here,
        }
        for one in SOURCES.values()
    ]
    return {"schema_version": 1, "datasets": rows}


def print_list(home: Path) -> None:
    """Every known table, and how much of it was imported."""
    here = imported(home)
    rows = [
        (one.name, one.level, one.licence, _latencies(home, one.name) if one.name in here else "–", one.origin)
        for one in SOURCES.values()
    ]
    console().print(rows_table("public tables", ("name", "level", "licence", "imported", "source"), rows))


def _latencies(home: Path, name: str) -> str:
    """How many were imported."""
    try:
        return str(read_card(home, name)["latencies"])
    except StoreError:
        return "damaged"  # `verify` says why


def card_json(home: Path, name: str) -> dict[str, Any]:
    """The card; of a table that was not imported, what is known of it anyway."""
    one = source(name)
    if name in imported(home):
        return read_card(home, name)
    known = {"name": name, "level": one.level, "source": one.origin, "licence": one.licence, "note": one.note}
    return {"schema_version": 1, "imported": None} | known


def print_card(home: Path, name: str) -> None:
    """The card, and latencies by device."""
    out, card = console(), card_json(home, name)
    out.print(f"{name}: latencies of a {card['level']} each, {card['source']}", soft_wrap=True)
    out.print(f"licence: {card['licence']}", soft_wrap=True)
    if card["note"]:
        out.print(f"note: {card['note']}", soft_wrap=True)
    if not card["imported"]:
        out.print("not imported: `autotune datasets import FILE`", soft_wrap=True)
        return
    out.print(
        f"imported {card['imported']}: {card['rows']} rows of {card['models']} models, {card['latencies']} latencies "
        f"in µs (source: {card['unit_of_the_source']}), {card['empty']} cells empty, {card['refused']} refused",
        soft_wrap=True,
    )
    rows = [(one["device"], one["processor"], one["latencies"]) for one in card["devices"]]
    out.print(rows_table("", ("device", "processor", "latencies"), rows))
    if recorded := card.get("profile_records"):
        out.print(
            f"{recorded['records']} profile records of {recorded['kernels']} kernels, for "
            f"`autotune retrain --dataset {name} --device DEVICE`; rows left out:",
            soft_wrap=True,
        )
        for reason, rows_left in recorded["left_out_rows"].items():
            out.print(f"  {rows_left}: {reason}", soft_wrap=True)
        out.print("what the records do not hold, or what was taken for granted:", soft_wrap=True)
        for text in recorded["lost"]:
            out.print(f"  {text}", soft_wrap=True)
    for cell in card["refused_cells"][:10]:
        out.print(f"refused: row {cell['row']}, {cell['column']}: {cell['reason']}", soft_wrap=True)


def verified(home: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """What is wrong with each data set; with all that are imported and with the own records where none is named."""
    own = [OWN] if (home / "profiles.db").exists() else []
    return [{"name": name, "wrong": _wrong(home, name)} for name in names or [*imported(home), *own]]


def _wrong(home: Path, name: str) -> list[str]:
    """What a check finds; damage that it cannot get past is a finding too, so that the others are checked."""
    try:
        if name != OWN:
            return verify(home, name)
        with Store(f"sqlite:///{home / 'profiles.db'}") as store:
            return store.wrong()
    except (StoreError, OSError) as error:
        return [str(error)]


def print_verified(found: Sequence[dict[str, Any]]) -> None:
    """A line for each data set."""
    for one in found:
        sound = "every row can be read" if one["name"] == OWN else "as its card says"
        for text in one["wrong"] or [sound]:
            console().print(f"{one['name']}: {text}", soft_wrap=True)
    if not found:
        console().print(
            "nothing was measured here and no public table imported: `autotune datasets list` names those that can be",
            soft_wrap=True,
        )
