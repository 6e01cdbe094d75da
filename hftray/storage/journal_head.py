"""Beside the journal: its name, and a mark, written in place, of how far it had come.

SQLite drops a damaged end of its log without a word. The mark knows the number of the last event
that was acknowledged, so a journal that lost some can say so. Written in place, it also works on
a full disk, where it remembers that the journal has a gap.
"""

import os
import secrets
import zlib
from contextlib import suppress
from pathlib import Path

SIZE = 31  # bytes: 19 digits, a space, the gap, a space, 8 hexadecimal digits, a line end


def identity(directory: Path) -> str:
    """The name of the journal in a directory, given once, whatever becomes of its file. OSError."""
    path = directory / "journal.name"
    if not path.exists():
        draft = directory / f"journal.name-{os.getpid()}"
        with draft.open("w") as file:
            file.write(secrets.token_hex(16))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


class HeadMark:
    """The mark of one journal; `seq` is 0 and `gap` False for a new one."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        found = os.pread(self._file, SIZE, 0)
        self.seq, self.gap = 0, False
        if not found:
            self.write(0, gap=False)
        elif (read := _read(found)) is not None:
            self.seq, self.gap = read
        else:
            self.gap = True  # nobody knows what it said

    def write(self, seq: int, *, gap: bool) -> None:
        """Remember; what an interrupted process wrote stays, a power cut may take it back."""
        body = f"{seq:019d} {gap:d}"
        os.pwrite(self._file, f"{body} {zlib.crc32(body.encode()):08x}\n".encode(), 0)
        self.seq, self.gap = seq, gap

    def flag_gap(self, gap: bool) -> None:
        """Remember, also over a power cut, whether events went past the journal."""
        self.gap = gap  # at least this process knows
        self.write(self.seq, gap=gap)
        os.fsync(self._file)

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


def _read(found: bytes) -> tuple[int, bool] | None:
    try:
        number, gap, checksum = found.decode("ascii").split()
        known = int(checksum, 16) == zlib.crc32(f"{number} {gap}".encode())
        return (int(number), gap == "1") if known else None
    except ValueError:
        return None
