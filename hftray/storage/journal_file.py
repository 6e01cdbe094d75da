"""The journal's SQLite file, open for writing, or for reading only where nothing can be written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hftray.storage.journal_repair import connect, frozen, opened


class JournalFile:
    """An open file. sqlite3.OperationalError or OSError when it can be neither opened nor made.

    `notes` say what had to be done to open it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frozen = ""  # why it can only be read
        self.notes: list[str] = []
        try:
            self.db, self.notes = opened(path)
        except sqlite3.OperationalError as error:
            self.db, self._frozen = frozen(path), str(error)
        self._inode = path.stat().st_ino

    def thaw(self) -> bool:
        """Open it for writing if that was not possible before; whether it was done now."""
        if not self._frozen:
            return False
        db = connect(self._path)
        self.db.close()
        self.db, self._frozen = db, ""
        return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk at the end."""
        if self._frozen:
            raise sqlite3.OperationalError(self._frozen)
        if self._path.stat().st_ino != self._inode:
            raise sqlite3.OperationalError("the journal's file is not the one that was opened")
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise

    def meta(self) -> dict[str, str]:
        """Everything the journal knows of itself."""
        return dict(self.db.execute("SELECT key, value FROM meta").fetchall())

    def put_meta(self, key: str, value: str) -> None:
        """Remember one thing, within a transaction."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
