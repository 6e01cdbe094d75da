"""What is wrong with a journal file, found when it is opened: damage is cut and kept aside.

Nothing is guessed. Rows are good up to the first whose checksum does not follow from the row
before it. What lies behind is written to `journal-cut-<n>.jsonl` before it is deleted; a file that
SQLite cannot read any more is kept as `journal-bad-<n>.sqlite` and its good rows go to a new one.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    checksum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS bases (
    run_id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, state TEXT NOT NULL, checksum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS known (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    reason TEXT NOT NULL
);
"""
ROWS = "SELECT seq, event_id, kind, payload, checksum FROM events ORDER BY seq"
BUSY_TIMEOUT = 5.0  # seconds to wait for a process that is about to be gone

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The last row before the first one kept: where the chain of checksums starts."""

    seq: int = 0
    checksum: bytes = b""

    def __str__(self) -> str:
        return f"{self.seq} {self.checksum.hex()}"

    @classmethod
    def of(cls, text: str) -> "Origin":
        """An origin from its text."""
        seq, _, checksum = text.partition(" ")
        return cls(int(seq), bytes.fromhex(checksum))


def link(previous: bytes, *values: object) -> bytes:
    """The checksum of a row that follows the row with checksum `previous`."""
    text = "\x1f".join(map(str, values)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(previous + text, digest_size=16).digest()


def verified(rows: Iterable[Row], origin: Origin) -> Iterator[tuple[Row, bool]]:
    """Every row, and whether it and all rows before it are as they were written."""
    good, previous = True, origin.checksum
    for row in rows:
        good = good and row[0] > origin.seq and link(previous, *row[:4]) == row[4]
        previous = row[4]
        yield row, good


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose every COMMIT is on disk when it returns."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        connection.text_factory = _comparable
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            connection.executescript(SCHEMA)
            _sync_directory(path.parent)
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def opened(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """The journal's connection, and what had to be done for it; OperationalError, OSError."""
    _finish_replacement(path)
    try:
        return connect(path), []
    except sqlite3.OperationalError:
        raise  # it cannot be opened now, which says nothing of what is in it
    except sqlite3.DatabaseError as error:
        return _salvaged(path, error)


def frozen(path: Path) -> sqlite3.Connection:
    """The journal as it is, only for reading, where nothing can be written; OperationalError.

    Only one that was closed in order is whole in its one file.
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise sqlite3.OperationalError("its write-ahead log cannot be read")
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True, isolation_level=None)
    connection.text_factory = _comparable
    try:
        connection.execute("SELECT count(*) FROM meta")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def keep_cut(directory: Path, rows: Iterable[Row]) -> Path:
    """Write rows that are about to be cut to a file of their own, durably."""
    path = _free(directory, "journal-cut-{}.jsonl")
    names = ("seq", "event_id", "kind", "payload")
    with path.open("x") as file:
        for row in rows:
            file.write(json.dumps(dict(zip(names, map(str, row), strict=False))) + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(directory)
    return path


def _salvaged(path: Path, error: sqlite3.Error) -> tuple[sqlite3.Connection, list[str]]:
    meta, rows = _readable(path)
    origin = Origin.of(meta["origin"]) if "origin" in meta else Origin()
    good = [row for row, is_good in verified(rows, origin) if is_good]
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as new:
        new.executescript(SCHEMA)
        new.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        new.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", good)
        new.commit()
    aside = _free(path.parent, "journal-bad-{}.sqlite")
    for suffix in ("-wal", "-shm", ""):  # the file itself last: then the new one counts
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    _finish_replacement(path)
    note = f"the journal was damaged ({error}): {len(good)} events saved, the rest is {aside.name}"
    return connect(path), [note]


def _readable(path: Path) -> tuple[dict[str, str], list[Row]]:
    """What SQLite still reads of a damaged file: all of its `meta`, or nothing at all."""
    rows: list[Row] = []
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as old:
            old.text_factory = _comparable
            meta = dict(old.execute("SELECT key, value FROM meta").fetchall())
            with suppress(sqlite3.DatabaseError):
                rows.extend(old.execute(ROWS))
    except sqlite3.DatabaseError:
        return {}, []
    return meta, rows


def _comparable(raw: bytes) -> str:
    # A damaged text must be comparable, not an error of its own.
    return raw.decode("utf-8", "surrogateescape")


def _finish_replacement(path: Path) -> None:
    draft = path.with_suffix(".new")
    if path.exists() or not draft.exists():
        return
    os.rename(draft, path)
    _sync_directory(path.parent)


def _free(directory: Path, pattern: str) -> Path:
    number = 1
    while (path := directory / pattern.format(number)).exists():
        number += 1
    return path


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
