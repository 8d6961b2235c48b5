"""The store of measurements: written as they are made, read by every later search on this device."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy as sa

from autotune.core import CoRunRecord, FailureKind, Identity, Kernel, Lane, Notes, ProfileRecord, StageRecord
from autotune.datasets import bulk, integrity, rows, schema
from autotune.datasets.columns import ProfileColumns
from autotune.datasets.connect import open_engine, place_of, reading, writing
from autotune.datasets.drawn import DRAWN, Drawn
from autotune.datasets.held_kernels import HeldKernels, decoded, known_kernels, parts
from autotune.datasets.home import home
from autotune.errors import StoreError

T = TypeVar("T")


class Store:
    """Profile records, stage records and models, in one data base; usable from several processes and threads.

    Args:
        url: an SQLAlchemy URL; by default the SQLite file `profiles.db` in the home folder.

    Raises:
        StoreError: it cannot be opened, is damaged or cannot be written.
        SchemaVersionError: it was written by a newer version of autotune.
    """

    def __init__(self, url: str | None = None) -> None:
        self._engine = open_engine(url or f"sqlite:///{home() / 'profiles.db'}")
        self.place = place_of(self._engine.url)
        self._held = HeldKernels(self.place)
        try:
            with writing(self._engine) as connection:
                schema.migrate(connection, self.place)
        except BaseException:
            self._engine.dispose()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the data base."""
        self._engine.dispose()

    # writing

    def add(self, records: Iterable[ProfileRecord]) -> None:
        """Store profile records in one transaction: when this returns they survive a killed process.

        Raises:
            StoreError: the disk is full or the data base is damaged; what was stored before is kept.
        """
        records = list(records)
        if not records:
            return
        signatures = [self._held.signatures.of(record.kernel) for record in records]
        new = self._held.new(record.kernel for record in records)
        values = [rows.profile_row(record, s) for record, s in zip(records, signatures, strict=True)]
        with writing(self._engine) as connection:
            self._held.add(connection, new)
            connection.execute(schema.profiles.insert(), values)
        self._held.keep(new)

    def add_rows(
        self,
        kernels: Mapping[str, str],
        values: Mapping[str, Iterable[Mapping[str, Any]]],
        *,
        devices: Collection[str],
    ) -> dict[str, int]:
        """Store checked rows that are not there yet, in one transaction.

        Args:
            kernels: signature -> canonical JSON of every kernel that the rows of `profiles` and `coruns` name.
            values: name of a table -> rows of it, as `rows` makes them.
            devices: all devices that they name.

        Returns:
            How many rows of each table were added.

        Raises:
            StoreError: as of `add`.
        """
        with writing(self._engine) as connection:
            known = known_kernels(connection, kernels)
            bulk.insert_kernels(connection, {s: text for s, text in kernels.items() if s not in known})
            return {
                name: bulk.insert(connection, schema.metadata.tables[name], own, devices=devices)
                for name, own in values.items()
            }

    def add_coruns(self, records: Iterable[CoRunRecord]) -> None:
        """Store co-run records in one transaction.

        Raises:
            StoreError: the disk is full or the data base is damaged; what was stored before is kept.
        """
        records = list(records)
        if not records:
            return
        new = self._held.new(kernel for record in records for kernel in (*record.victim, *record.beside))
        values = [
            rows.corun_row(
                record, *([self._held.signatures.of(k) for k in side] for side in (record.victim, record.beside))
            )
            for record in records
        ]
        with writing(self._engine) as connection:
            self._held.add(connection, new)
            connection.execute(schema.coruns.insert(), values)
        self._held.keep(new)

    def add_stages(self, records: Iterable[StageRecord]) -> None:
        """Store stage records in one transaction.

        Raises:
            StoreError: the disk is full or the data base is damaged; what was stored before is kept.
        """
        values = [rows.stage_row(record) for record in records]
        if values:
            with writing(self._engine) as connection:
                connection.execute(schema.stages.insert(), values)

    def add_model(self, sha256: str, name: str, kernels: Collection[str]) -> None:
        """Remember which kernels (signatures, in order) a model consists of; a later call replaces an earlier one."""
        with writing(self._engine) as connection:
            connection.execute(schema.models.delete().where(schema.models.c.sha256 == sha256))
            values = {"sha256": sha256, "name": name, "kernels": json.dumps(list(kernels))}
            connection.execute(schema.models.insert().values(values))

    def add_drawn(self, kernels: Iterable[Drawn]) -> None:
        """Remember where synthetic kernels were drawn from, beside what is known already.

        An origin is stored as a model is, under the name `DRAWN` + origin, once for each set of kernels.
        """
        found: dict[str, set[str]] = {}
        for one in kernels:
            for origin in one.origins:
                found.setdefault(DRAWN + origin, set()).add(one.kernel.signature)
        lists = {name: json.dumps(sorted(own)) for name, own in found.items()}
        values = [
            {"sha256": hashlib.sha256(f"{name}{own}".encode()).hexdigest(), "name": name, "kernels": own}
            for name, own in lists.items()
        ]
        self.add_rows({}, {schema.models.name: values}, devices=())

    # reading

    def kernels(
        self,
        *,
        device: str | None = None,
        lanes: Collection[Lane] | None = None,
        identity: Identity | None = None,
        signatures: Collection[str] | None = None,
        latest: bool = True,
    ) -> list[ProfileRecord]:
        """Profile records in the order they were made; None leaves a condition out.

        Args:
            device: `Device.id`.
            lanes: only these.
            identity: only exactly this one.
            signatures: only these kernels.
            latest: of several records of one kernel, lane and identity only the last; False gives them all
                (repeats show the noise).
        """
        table = schema.profiles
        conditions = self._conditions(table, device=device, lanes=lanes, identity=identity)
        found = self._select(table, conditions, "signature", signatures)
        if latest:
            last = {(row["signature"], row["lane"], row["identity"]): row for row in found}
            found = sorted(last.values(), key=lambda row: int(row["id"]))
        kernels = self._load({row["signature"] for row in found})
        return decoded(self.place, found, lambda row: rows.profile_of(row, kernels[row["signature"]]))

    def columns(self, *, device: str) -> ProfileColumns:
        """All measured profile records of a device by column, repeats too: what `kernels(latest=False)` holds.

        A million records take seconds and no object each; only distinct kernels are decoded.
        """
        with reading(self._engine) as connection:
            found = bulk.read(connection, device)
        signatures, lanes, identities, notes = (coding.texts for coding in found.codings)
        kernels = self._load(signatures)
        try:
            median_us = found.medians_us()
        except ValueError as error:
            raise StoreError(f"{self.place}: {error}: the file is damaged; move it away and measure again.") from error
        return ProfileColumns(
            kernels=tuple(kernels[signature] for signature in signatures),
            signatures=tuple(signatures),
            lanes=tuple(decoded(self.place, lanes, rows.lane_of)),
            identities=tuple(decoded(self.place, identities, rows.identity_of)),
            notes=tuple(decoded(self.place, notes, rows.notes_of)),
            kernel=found.codes[:, 0],
            lane=found.codes[:, 1],
            identity=found.codes[:, 2],
            note=found.codes[:, 3],
            median_us=median_us,
            ordinal=found.ordinals,
            failures=found.failures,
        )

    def known(self, signatures: Collection[str], lane: Lane, identity: Identity) -> set[str]:
        """Those of `signatures` that need not be measured again on this lane under this identity.

        They have a measurement, are not supported there, or failed twice: what failed once (killed for memory that
        another program held, say) gets a second chance.
        """
        table = schema.profiles
        conditions = self._conditions(table, device=None, lanes=[lane], identity=identity)
        query = sa.select(table.c.signature, table.c.failure_kind).where(*conditions)
        with reading(self._engine) as connection:
            settled = _settled((signature, failure) for signature, failure in connection.execute(query))
        return settled & set(signatures)

    def notes(self, lane: Lane, identity: Identity) -> list[Notes]:
        """Circumstances of all kernels measured on this lane under this identity."""
        table = schema.profiles
        query = sa.select(table.c.notes).where(*self._conditions(table, device=None, lanes=[lane], identity=identity))
        with reading(self._engine) as connection:
            return decoded(self.place, connection.execute(query.distinct()).scalars(), rows.notes_of)

    def disturbed(self, signatures: Collection[str], lane: Lane, identity: Identity, *, fastest_us: float) -> set[str]:
        """Those of `signatures` that were measured once, on a disturbed machine; a second measurement is believed.

        Args:
            signatures: of kernels.
            lane: where.
            identity: under which their records are filed.
            fastest_us: what the lane's sentinel takes at its fastest.
        """
        table = schema.profiles
        conditions = self._conditions(table, device=None, lanes=[lane], identity=identity)
        query = sa.select(table.c.signature, table.c.notes).where(*conditions, table.c.failure_kind == "")
        with reading(self._engine) as connection:
            found = connection.execute(query).all()
        times = Counter(signature for signature, _ in found)
        once = [(signature, text) for signature, text in found if times[signature] == 1 and signature in signatures]
        notes = decoded(self.place, (text for _, text in once), rows.notes_of)
        return {name for (name, _), note in zip(once, notes, strict=True) if note.disturbed(fastest_us)}

    def stages(
        self,
        *,
        device: str | None = None,
        model_sha256: str | None = None,
        lanes: Collection[Lane] | None = None,
        identity: Identity | None = None,
    ) -> list[StageRecord]:
        """Stage records, all of them, in the order they were made (repeats too: each is a replicate)."""
        table = schema.stages
        conditions = self._conditions(table, device=device, lanes=lanes, identity=identity)
        if model_sha256 is not None:
            conditions.append(table.c.model_sha256 == model_sha256)
        return decoded(self.place, self._select(table, conditions, "", None), rows.stage_of)

    def coruns(
        self,
        *,
        device: str | None = None,
        lanes: tuple[Lane, Lane] | None = None,
        identity: Identity | None = None,
        latest: bool = True,
    ) -> list[CoRunRecord]:
        """Co-run records in the order they were made.

        Args:
            device: `Device.id`.
            lanes: only this victim's lane beside this other one.
            identity: only exactly this one.
            latest: of several of the same work on the same lanes only the last; False gives them all.
        """
        table = schema.coruns
        conditions = [] if device is None else [table.c.device == device]
        if lanes is not None:
            one, two = map(rows.lane_json, lanes)
            conditions += [table.c.victim_lane == one, table.c.beside_lane == two]
        if identity is not None:
            conditions.append(table.c.identity == rows.identity_json(identity))
        found = self._select(table, conditions, "", None)
        if latest:
            same = ("victim", "victim_lane", "beside", "beside_lane", "identity")
            last = {tuple(row[name] for name in same): row for row in found}
            found = sorted(last.values(), key=lambda row: int(row["id"]))
        sides = {side for row in found for side in (row["victim"], row["beside"])}
        kernels = self._load({signature for side in sides for signature in rows.signatures_of(side)})
        return decoded(self.place, found, lambda row: rows.corun_of(row, kernels))

    def known_coruns(
        self, victim: Lane, beside: Lane, identity: Identity
    ) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Signatures of both sides of the pairs that need not be measured again on these lanes; see `known`."""
        table = schema.coruns
        query = sa.select(table.c.victim, table.c.beside, table.c.failure_kind).where(
            table.c.victim_lane == rows.lane_json(victim),
            table.c.beside_lane == rows.lane_json(beside),
            table.c.identity == rows.identity_json(identity),
        )
        with reading(self._engine) as connection:
            found = _settled(((one, two), failure) for one, two, failure in connection.execute(query))
        return {(rows.signatures_of(one), rows.signatures_of(two)) for one, two in found}

    def models(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Model hash -> (name, signatures of its kernels in order); origins of synthetic kernels are among them."""
        with reading(self._engine) as connection:
            found = connection.execute(sa.select(schema.models).order_by(schema.models.c.name)).all()
        return {row.sha256: (row.name, tuple(json.loads(row.kernels))) for row in found}

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Model name -> signatures of its kernels, sorted; `DRAWN` + origin -> those of the kernels drawn from it.

        A model stored at several input shapes (several hashes) is one group: its kernels resemble each other. Which
        groups are left out together: `architecture`.
        """
        joined: dict[str, set[str]] = {}
        for name, signatures in self.models().values():
            joined.setdefault(name, set()).update(signatures)
        return {name: tuple(sorted(own)) for name, own in sorted(joined.items())}

    def devices(self) -> dict[str, int]:
        """`Device.id` -> number of its profile records, most first."""
        column, count = schema.profiles.c.device, sa.func.count()
        query = sa.select(column, count).group_by(column).order_by(count.desc(), column)
        with reading(self._engine) as connection:
            return {device: int(number) for device, number in connection.execute(query)}

    def counts(self) -> dict[str, int]:
        """Rows per table, for people: `kernels`, `profiles`, `stages`, `coruns`, `models`."""
        with reading(self._engine) as connection:
            return {
                table.name: int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
                for table in (schema.kernels, schema.profiles, schema.stages, schema.coruns, schema.models)
            }

    def wrong(self) -> list[str]:
        """What is wrong with the data base, damaged pages, else a line for each table with rows that do not decode."""
        with reading(self._engine) as connection:
            return integrity.wrong_rows(connection, self.place)

    # inside

    def _load(self, signatures: Collection[str]) -> Mapping[str, Kernel]:
        with reading(self._engine) as connection:
            return self._held.load(connection, signatures)

    @staticmethod
    def _conditions(
        table: sa.Table, *, device: str | None, lanes: Collection[Lane] | None, identity: Identity | None
    ) -> list[sa.ColumnElement[bool]]:
        conditions = [] if device is None else [table.c.device == device]
        if lanes is not None:
            conditions.append(table.c.lane.in_([rows.lane_json(lane) for lane in lanes]))
        if identity is not None:
            conditions.append(table.c.identity == rows.identity_json(identity))
        return conditions

    def _select(
        self,
        table: sa.Table,
        conditions: list[sa.ColumnElement[bool]],
        column: str,
        values: Collection[str] | None,
    ) -> list[sa.RowMapping]:
        query = sa.select(table).where(*conditions)
        with reading(self._engine) as connection:
            if values is None:
                return list(connection.execute(query.order_by(table.c.id)).mappings())
            found: list[sa.RowMapping] = []
            for part in parts(values):
                found += connection.execute(query.where(table.c[column].in_(part))).mappings()
        return sorted(found, key=lambda row: int(row["id"]))


def _settled(found: Iterable[tuple[T, str]]) -> set[T]:
    """What was measured, is not supported, or failed twice, of (what, kind of failure)."""
    settled: set[T] = set()
    failures: Counter[T] = Counter()
    for what, failure in found:
        if failure in ("", FailureKind.UNSUPPORTED):
            settled.add(what)
        else:
            failures[what] += 1
    return settled | {what for what, count in failures.items() if count > 1}
