"""Tables of the store and how an older data base becomes a newer one.

Alembic is not used: the migrations are few, linear and must run without a folder of scripts beside the installed
package, and Alembic's version table is what MLflow and Optuna would collide with if a user pointed all three at one
data base. A migration is a function of a connection; its position in `MIGRATIONS` is the version it leads from.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from autotune.errors import SchemaVersionError

metadata = sa.MetaData()

kernels = sa.Table(
    "kernels",
    metadata,
    sa.Column("signature", sa.String(32), primary_key=True),
    sa.Column("json", sa.Text, nullable=False),
)

_RESULT = (
    ("samples_us", sa.LargeBinary, True),  # float64, little-endian; null where the measurement failed
    ("load_s", sa.Float, False),
    ("peak_bytes", sa.BigInteger, False),
    ("failure_kind", sa.String(16), False),  # empty where there are samples
    ("failure_message", sa.Text, False),
    ("device", sa.String(64), False),
    ("identity", sa.Text, False),
    ("notes", sa.Text, False),
)


def _result_columns() -> list[sa.Column[object]]:
    return [sa.Column(name, kind, nullable=nullable) for name, kind, nullable in _RESULT]


# Big integers are plain INTEGER in SQLite, which alone counts up by itself.
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("signature", sa.String(32), nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    *_result_columns(),
)

stages = sa.Table(
    "stages",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("stop", sa.Integer, nullable=False),
    sa.Column("kernels", sa.Text, nullable=False),
    sa.Column("bytes_in", sa.BigInteger, nullable=False),
    sa.Column("bytes_out", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("errors", sa.Text, nullable=False),
    sa.Column("predicted_us", sa.Float, nullable=False),
    *_result_columns(),
)

coruns = sa.Table(
    "coruns",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("victim", sa.Text, nullable=False),  # signatures of kernels
    sa.Column("victim_lane", sa.Text, nullable=False),
    sa.Column("beside", sa.Text, nullable=False),
    sa.Column("beside_lane", sa.Text, nullable=False),
    sa.Column("alone_us", sa.LargeBinary, nullable=True),  # float64, little-endian; null where the measurement failed
    sa.Column("beside_us", sa.LargeBinary, nullable=True),
    sa.Column("failure_kind", sa.String(16), nullable=False),
    sa.Column("failure_message", sa.Text, nullable=False),
    sa.Column("device", sa.String(64), nullable=False),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("notes", sa.Text, nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kernels", sa.Text, nullable=False),
)

schema_version = sa.Table("schema_version", sa.MetaData(), sa.Column("version", sa.Integer, nullable=False))


def _create_tables(connection: sa.Connection) -> None:
    """0 -> 1: the tables."""
    metadata.create_all(connection)


def _create_indexes(connection: sa.Connection) -> None:
    """1 -> 2: look-ups by kernel and by model no longer read the whole table."""
    connection.execute(sa.text("CREATE INDEX profiles_by_signature ON profiles (signature)"))
    connection.execute(sa.text("CREATE INDEX stages_by_model ON stages (model_sha256)"))


def _create_coruns(connection: sa.Connection) -> None:
    """2 -> 3: what work on two lanes does to each other."""
    coruns.create(connection, checkfirst=True)


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_create_tables, _create_indexes, _create_coruns)
STORE_SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: sa.Connection, place: str) -> int:
    """Bring the data base to `STORE_SCHEMA_VERSION`, within the caller's transaction; returns the version it had.

    Raises:
        SchemaVersionError: it was written by a newer version; nothing was changed.
    """
    schema_version.create(connection, checkfirst=True)
    found = connection.execute(sa.select(sa.func.max(schema_version.c.version))).scalar()
    before = 0 if found is None else int(found)
    if before > STORE_SCHEMA_VERSION:
        raise SchemaVersionError(place, found=before, known=STORE_SCHEMA_VERSION)
    if before < STORE_SCHEMA_VERSION:
        for step in MIGRATIONS[before:]:
            step(connection)
        connection.execute(schema_version.delete())
        connection.execute(schema_version.insert().values(version=STORE_SCHEMA_VERSION))
    return before
