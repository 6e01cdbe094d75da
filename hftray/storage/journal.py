"""The local journal: ledger events on this machine's disk before they are in PostgreSQL.

One SQLite file. What `run` returned from is on disk (WAL, synchronous=FULL). Each row's checksum
continues the one before it, so a torn or altered end shows. `bases` holds the state of a run up
to some row: that and the rows after it are the whole truth of the run, or there is no base.

Everything here is called from one thread (see `group_commit`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import time_ns
from typing import Any

from hftray.core.errors import StaleEpoch
from hftray.core.ledger import RunState
from hftray.storage.event_codec import Entry, state_text
from hftray.storage.journal_file import JournalFile
from hftray.storage.journal_head import HeadMark, identity
from hftray.storage.journal_repair import ROWS, Origin, keep_cut, link, verified

FILE = "journal.sqlite"


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest row."""

    seq: int
    checksum: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that the database does not have yet."""

    seq: int
    entry: Entry


Refused = tuple[Waiting, str]
"""A row that the database will never take, and why."""


class Journal:
    """An open journal. `take_over` makes this process its only writer.

    `waiting` rows are not in the database yet. sqlite3.OperationalError or OSError when the file
    can be neither opened nor made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.identity = identity(directory)
        self.head = HeadMark(directory / "journal.head")
        try:
            self._file = JournalFile(directory / FILE)
        except BaseException:
            self.head.close()
            raise
        self.notes = self._file.notes
        self._suspect = bool(self.notes)
        self._incarnation, self._tried = self._stored_incarnation(), False
        self._drained = 0
        self.refused: dict[int, Refused] = {}
        self.reload()

    def reload(self) -> None:
        """Read the file as after a restart: how far it is good, what waits."""
        meta = self._file.meta()
        kept = self._file.db.execute("SELECT seq, event_id, kind, payload, reason FROM refused")
        stored = {row[0]: (Waiting(row[0], Entry(*row[1:4])), row[4]) for row in kept}
        self.refused = self.refused | stored  # a new one: others may be looking at the old
        self.term = int(meta.get("term", 0))
        self._drained = max(self._drained, int(meta.get("drained", 0)))
        origin = Origin.of(meta.get("origin", "0 "))
        last, checksum, count = origin.seq, origin.checksum, 0
        present, self._has_bad_rows = max(origin.seq, int(meta.get("numbered", 0))), False
        for row, good in verified(self._file.db.execute(ROWS), origin):
            present = max(present, row[0])
            if good:
                last, checksum, count = row[0], row[4], count + (row[0] > self._drained)
            else:
                self._has_bad_rows = True
        self._tip, self.waiting = Tip(last, checksum), count
        if (lost := self.head.seq - max(present, self._drained)) > 0:
            self.notes.append(f"up to {lost} acknowledged events are missing from the journal")
        self._suspect = self._suspect or self._has_bad_rows or self.head.seq > present

    # Changes, all of them within `run` or `take_over`

    def take_over(self, states: Sequence[RunState] | None = None) -> None:
        """Become the only writer; cut what is bad, and with `states` begin from them.

        StaleEpoch when another process has taken over since the first try.
        """
        again, self._tried = self._tried, True
        if self._file.thaw():
            self.reload()
        with self._transaction():
            if again:
                self.require_own()
            if self._has_bad_rows:
                self._cut()
            if states is not None or self._suspect or self.head.gap:
                self._file.db.execute("DELETE FROM bases")
            last = max(self._tip.seq, self.head.seq, self._drained)
            self._tip = replace(self._tip, seq=last)  # no number is used twice
            # Milliseconds since 1970: it grows even when the file had to be made anew.
            mine = max(self._stored_incarnation() + 1, time_ns() // 1_000_000)
            self._file.put_meta("incarnation", str(mine))
            self._file.put_meta("numbered", str(last))
            if states:
                self.rebase(states)
        self._incarnation, self._has_bad_rows, self._suspect = mine, False, False
        self.head.write(last, gap=False)

    def run(self, steps: Sequence[Callable[["Journal"], Any]]) -> list[Any]:
        """All steps in one transaction, on disk on return; their answers. StaleEpoch."""
        with self._transaction():
            self.require_own()
            answers = [step(self) for step in steps]
        self.head.write(self._tip.seq, gap=self.head.gap)
        return answers

    def append(self, entries: Sequence[Entry]) -> None:
        """Add rows at the end."""
        seq, checksum, rows = self._tip.seq, self._tip.checksum, []
        for entry in entries:
            seq += 1
            values = (seq, entry.event_id, entry.kind, entry.payload)
            checksum = link(checksum, *values)
            rows.append((*values, checksum))
        self._file.db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        self._tip, self.waiting = Tip(seq, checksum), self.waiting + len(rows)

    def rebase(self, states: Iterable[RunState]) -> list[str]:
        """Make these the bases, as of now, and the only ones; the ids of rows not needed any more.

        A row is needed until it is drained.
        """
        self._file.db.execute("DELETE FROM bases")
        for state in states:
            values = (state.run.run_id, self._tip.seq, state_text(state))
            self._file.db.execute(
                "INSERT INTO bases VALUES (?, ?, ?, ?)", (*values, link(b"", *values))
            )
        self.save_drained()
        end = (min(self._drained, self._tip.seq),)
        newest = "SELECT seq, checksum FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
        if (found := self._file.db.execute(newest, end).fetchone()) is None:
            return []
        self._file.put_meta("origin", str(Origin(*found)))
        gone = self._file.db.execute("DELETE FROM events WHERE seq <= ? RETURNING event_id", end)
        return [event_id for (event_id,) in gone.fetchall()]

    def save_drained(self) -> None:
        """Write down what `drained` was told, the refused rows with it."""
        self._file.put_meta("drained", str(self._drained))
        kept = ((row.seq, row.entry, why) for row, why in self.refused.values())
        self._file.db.executemany(
            "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)",
            [(seq, entry.event_id, entry.kind, entry.payload, why) for seq, entry, why in kept],
        )

    def set_term(self, term: int) -> None:
        """Remember the newest term of the order writer."""
        self._file.put_meta("term", str(term))
        self.term = term

    def learn(self, key: str, value: str) -> None:
        """Remember an answer of the database."""
        self._file.db.execute("INSERT OR REPLACE INTO known VALUES (?, ?)", (key, value))

    # Looks, between transactions

    def require_own(self) -> None:
        """StaleEpoch when another process has taken over."""
        if self._stored_incarnation() != self._incarnation:
            raise StaleEpoch("another persistence process has taken over the journal")

    def drained(self, rows: Sequence[Waiting], refused: Iterable[Refused]) -> None:
        """The database has the oldest waiting rows, or will never take them (with the reason).

        It is written down with a later transaction, both or neither.
        """
        self._drained, self.waiting = rows[-1].seq, self.waiting - len(rows)
        self.refused = self.refused | {row.seq: (row, why) for row, why in refused}

    def rows_waiting(self, limit: int) -> list[Waiting]:
        """The oldest rows that the database does not have."""
        return [Waiting(row[0], Entry(*row[1:4])) for row in self._rows(self._drained, limit)]

    def base(self, run_id: int) -> tuple[str, list[Entry]] | None:
        """A run's state at some moment and all rows since (of every run), or None."""
        wanted = "SELECT run_id, seq, state, checksum FROM bases WHERE run_id = ?"
        found = self._file.db.execute(wanted, (run_id,)).fetchone()
        if found is None or self._suspect or self.head.gap or link(b"", *found[:3]) != found[3]:
            return None
        return found[2], [Entry(*row[1:4]) for row in self._rows(found[1], -1)]

    def event_ids(self) -> set[str]:
        """The names of all events in the file."""
        return {row[1] for row in self._rows(0, -1)}

    def known(self) -> dict[str, str]:
        """What `learn` was told."""
        return dict(self._file.db.execute("SELECT key, value FROM known").fetchall())

    def pragma(self, name: str) -> Any:
        """The value of an SQLite setting on the connection that writes."""
        return self._file.db.execute(f"PRAGMA {name}").fetchone()[0]

    def close(self) -> None:
        """Release the files."""
        self._file.db.close()
        self.head.close()

    def _rows(self, after: int, limit: int) -> list[tuple[Any, ...]]:
        wanted = ROWS.replace("ORDER", "WHERE seq > ? AND seq <= ? ORDER")
        return self._file.db.execute(f"{wanted} LIMIT ?", (after, self._tip.seq, limit)).fetchall()

    def _cut(self) -> None:
        beyond = ROWS.replace("ORDER", "WHERE seq > ? ORDER")
        bad = self._file.db.execute(beyond, (self._tip.seq,)).fetchall()
        path = keep_cut(self._directory, bad)
        self._file.db.execute("DELETE FROM events WHERE seq > ?", (self._tip.seq,))
        self.notes.append(f"{len(bad)} damaged events were cut from the journal: {path.name}")

    def _stored_incarnation(self) -> int:
        return int(self._file.meta().get("incarnation", 0))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self._tip, self.waiting
        try:
            with self._file.transaction():
                yield
        except BaseException:
            self._tip, self.waiting = before
            raise
