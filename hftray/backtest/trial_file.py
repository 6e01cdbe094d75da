"""The results of a study as they come in: one JSON object a line, readable while it grows.

The first line says what is studied; taking a study up again with anything else is refused. A line
cut short by a crash is dropped.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from hftray.backtest.sweep import Result
from hftray.core.errors import ConfigError, DataError

SWEEP_FOLD = 0  # a sweep has no folds; those of a walk-forward count from 1


class TrialFile:
    """Results by fold, on disk."""

    def __init__(self, path: Path, study: Mapping[str, Any], *, resume: bool) -> None:
        """Begin a study, or go on with it. ConfigError, DataError with file and line.

        `study` is what makes results comparable: data, space, metric and the like, as JSON values.
        """
        self.path = path
        self.folds: dict[int, list[Result]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole:
            self._read(whole.splitlines(), json.loads(json.dumps(study)), resume=resume)
        self._file: IO[str] = path.open("a", encoding="utf-8")
        self._file.truncate(len(whole.encode()))
        if not whole:
            self._write({"study": study})

    def add(self, fold: int, results: Iterable[Result]) -> None:
        """Keep results; they survive the process from here on."""
        for result in results:
            self.folds.setdefault(fold, []).append(result)
            self._write({"fold": fold, "set": result.chosen, "figures": result.figures})
        self._file.flush()

    def close(self) -> None:
        """No more results come."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")

    def _read(self, lines: list[str], study: Mapping[str, Any], *, resume: bool) -> None:
        try:
            before = json.loads(lines[0])["study"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.path}, line 1: not a file of results") from None
        if not resume:
            raise ConfigError(
                f"{self.path}: holds {len(lines) - 1} finished sets; add --resume to go on with "
                "them, or choose another folder with --out"
            )
        for key in study.keys() | before.keys():
            if study.get(key) != before.get(key):
                raise ConfigError(
                    f"{self.path}: was begun with {key} {_shown(before.get(key))}, not "
                    f"{_shown(study.get(key))}; choose another folder with --out"
                )
        for number, line in enumerate(lines[1:], 2):
            try:
                row = json.loads(line)
                result = Result(row["set"], row["figures"])
                self.folds.setdefault(row["fold"], []).append(result)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{self.path}, line {number}: not a result ({error})") from None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
