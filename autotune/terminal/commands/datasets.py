"""`autotune datasets …`: profile records and public tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune.terminal.commands.options import Json, print_json

datasets = typer.Typer(no_args_is_help=True, help="Profile records and public tables of latencies.")


@datasets.command("list")
def datasets_list(as_json: Json = False) -> None:
    """List the public tables that can be imported, and which are."""
    from autotune.datasets import home
    from autotune.terminal.public_data import list_json, print_list

    print_json(list_json(home())) if as_json else print_list(home())


@datasets.command("show")
def datasets_show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A public table; without one: the records of this device.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Show how many records there are by device and lane, or the card of a public table."""
    from autotune.datasets import home
    from autotune.terminal.listing import print_records, records_json
    from autotune.terminal.public_data import card_json, print_card

    if name:
        print_json(card_json(home(), name)) if as_json else print_card(home(), name)
    else:
        print_json(records_json()) if as_json else print_records()


@datasets.command("export")
def datasets_export(
    path: Annotated[str, typer.Argument(metavar="FILE", help="Parquet file to write.")],
    device: Annotated[
        str, typer.Option("--device", metavar="ID", help="Only records of this device, as `datasets show` lists it.")
    ] = "",
    licence: Annotated[
        str, typer.Option("--licence", metavar="TEXT", help="Under which others may use them, for the card.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Export records of kernels, co-runs and stages, and the models that they are of, as Parquet with a card."""
    import json

    from autotune.datasets import Store, export_parquet, home
    from autotune.datasets.cards import LICENCE

    with Store(f"sqlite:///{home() / 'profiles.db'}") as store:
        card = export_parquet(store, Path(path), device=device or None, licence=licence or LICENCE)
    held = json.loads(card.read_text(encoding="utf-8"))
    counts = {part: held.get(part, {}).get("records", 0) for part in ("coruns", "stages", "models")}
    if as_json:
        print_json({"schema_version": 1, "path": path, "card": str(card), "records": held["records"]} | counts)
    else:
        listed = f"{counts['coruns']} co-runs, {counts['stages']} stages, {counts['models']} models"
        typer.echo(f"written: {path}, {held['records']} records, {listed}")


@datasets.command("import")
def datasets_import(
    path: Annotated[str, typer.Argument(metavar="FILE", help="Parquet (or CSV) file to read.")],
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Which public table it is, if its name does not say.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Import records that `export` wrote, or a public table; what is refused is counted with its reasons."""
    from autotune.core.codec import encode
    from autotune.datasets import Store, home, import_parquet
    from autotune.datasets.parquet import is_export
    from autotune.datasets.public import import_public
    from autotune.errors import InputError

    if Path(path).is_dir():
        raise InputError(f"{path} is a folder: give the Parquet or CSV file in it")
    if name or not is_export(Path(path)):
        public = import_public(path, home(), name=name)
        print_json({"schema_version": 1} | encode(public)) if as_json else typer.echo(str(public))
        return
    with Store(f"sqlite:///{home() / 'profiles.db'}") as store:
        report = import_parquet(store, Path(path))
    print_json({"schema_version": 1} | encode(report)) if as_json else typer.echo(str(report))


@datasets.command("verify")
def datasets_verify(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Public tables; without one: all that are here, and own records."),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check public tables against their cards, and the records of this device; exit code 1 if anything is wrong."""
    from autotune.datasets import home
    from autotune.terminal.public_data import print_verified, verified

    found = verified(home(), names)
    print_json({"schema_version": 1, "datasets": found}) if as_json else print_verified(found)
    if any(one["wrong"] for one in found):
        raise typer.Exit(1)


@datasets.command("import-hope")
def datasets_import_hope(
    ops: Annotated[str, typer.Argument(metavar="OPS", help="hope_ops.parquet.")],
    transfers: Annotated[str, typer.Argument(metavar="TRANSFERS", help="hope_transfer.parquet.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="For the recorded devices.")],
    as_json: Json = False,
) -> None:
    """Make recorded devices of HOPE's tables of phones, for `search --device recorded:FOLDER`."""
    from autotune.core.codec import encode
    from autotune.datasets.hope import import_hope

    report = import_hope(ops, transfers, output)
    if as_json:
        print_json({"schema_version": 1} | encode(report))
        return
    for name, folder in report.folders.items():
        typer.echo(f"{name}: {folder}")
    typer.echo(f"{report.kernels} kernels; {report.guessed_edges} edges led to operators that the table does not hold")
    if report.refused:
        typer.echo(f"{len(report.refused)} transfers refused, the first at {report.refused[0]}")
    if report.without_transfers:
        typer.echo(f"without transfers, and so left out: {', '.join(report.without_transfers)}")
