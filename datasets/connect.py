"""One way to open the data base, and one way to say what went wrong with it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from autotune.errors import StoreError

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction; ours last milliseconds."""

FULL_BYTES = 1 << 16


def place_of(url: sa.URL) -> str:
    """What a message calls the data base: the file's path, or the URL without its password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return str(Path(url.database).absolute())
    return url.render_as_string(hide_password=True)


def open_engine(url: str) -> sa.Engine:
    """An engine; SQLite in write-ahead mode (readers never wait) with explicit transactions.

    Raises:
        StoreError: the URL is not one, or its driver is not installed.
    """
    try:
        engine = sa.create_engine(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise StoreError(
            f"{url!r} is not a data base that can be opened ({error}): use a URL like sqlite:////path/profiles.db."
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _on_connect)
        sa.event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin by itself, but not before CREATE TABLE
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")  # safe against a killed process; a power cut may cost the last commit
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later could not wait for its turn: writers take it at once.
    writes = connection.get_execution_options().get("autotune_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for reading; errors of the data base become `StoreError`."""
    with _explained(place_of(engine.url)), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction that is committed at the end, or rolled back whole."""
    with _explained(place_of(engine.url)), engine.connect() as plain:
        connection = plain.execution_options(autotune_writes=True)
        with connection.begin():
            yield connection


@contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise StoreError(explain(place, str(getattr(error, "orig", None) or error))) from error
    except SQLAlchemyError as error:
        raise StoreError(f"{place}: {error}") from error


def _is_full(place: str) -> bool:
    """Whether the disk is full: SQLite calls it an I/O error where it cannot grow its shared memory."""
    try:
        return shutil.disk_usage(Path(place).parent).free < FULL_BYTES
    except OSError:
        return False


def explain(place: str, reason: str) -> str:
    """One sentence: what the data base said and what to do."""
    low = reason.lower()
    if "not a database" in low or "malformed" in low or "no such column" in low or "no such table" in low:
        cure = f"it is damaged; move it away (`mv '{place}' '{place}.damaged'`) and measure again, or import an export"
    elif "full" in low or ("i/o error" in low and _is_full(place)):
        cure = "the disk is full; nothing that was stored is lost: free space and run again, it resumes"
    elif "locked" in low or "busy" in low:
        cure = f"another process has held it for over {BUSY_TIMEOUT_MS // 1000} s: wait for that process or end it"
    elif "readonly" in low or "unable to open" in low or "permission" in low:
        cure = "make the file and its folder writable, or set AUTOTUNE_HOME to another folder"
    else:
        cure = "if it persists, move the file away or set AUTOTUNE_HOME to another folder"
    return f"{place}: {reason}: {cure}."
