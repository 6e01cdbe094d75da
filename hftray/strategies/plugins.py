"""Strategies from outside: a user's Python files, and entry points of installed packages.

A file is read once, by the process that the user started, and travels as text to every other one
(`StrategyFile`). So all processes run the same code, also on nodes of a cluster that do not have
the file, and after it was edited. Loading is by name and content: doing it twice is once.

A strategy file is code that runs with all the rights of hftray. Load your own only.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Self

from hftray.core.errors import ConfigError
from hftray.strategies.registry import forget, known_kinds, strategy_class

GROUP = "hftray.strategies"
"""The entry point group: `my_kind = "my_package.my_module"`."""

_FILES: dict[str, str] = {}  # module name by path, of the files loaded
_POINTS: set[str] = set()  # the entry points loaded


class BadPlugin(ConfigError):
    """A strategy file or entry point cannot be used; the message names it and the line."""


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """A strategy file as it was read."""

    path: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file now. BadPlugin when it cannot be read."""
        try:
            return cls(str(path.expanduser().absolute()), path.expanduser().read_text("utf-8"))
        except OSError as error:
            raise BadPlugin(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise BadPlugin(f"{path}: not UTF-8 text: {error.reason}") from error

    @property
    def module(self) -> str:
        """The name of its module: the same in every process, another for another content."""
        mark = hashlib.sha256(f"{self.path}\n{self.text}".encode()).hexdigest()[:12]
        stem = re.sub(r"\W", "_", Path(self.path).stem)
        return f"hftray_strategy_{stem}_{mark}"


def read_plugins(paths: Iterable[Path]) -> tuple[StrategyFile, ...]:
    """The strategy files, to be sent to every process that votes. BadPlugin."""
    return tuple(StrategyFile.read(path) for path in paths)


def load_plugins(files: Sequence[StrategyFile | Path] = ()) -> tuple[str, ...]:
    """Register the strategies of these files and of all installed entry points.

    Gives the kinds that were new. What is loaded already is left alone. BadPlugin names the file
    and line, or the entry point, that failed; nothing of that one stays registered.
    """
    before = set(known_kinds())
    for point in _installed():
        if point.value not in _POINTS:
            _load(_point_name(point), point.load)
            _POINTS.add(point.value)
    for file in files:
        _load_file(StrategyFile.read(file) if isinstance(file, Path) else file)
    return tuple(kind for kind in known_kinds() if kind not in before)


@cache
def _installed() -> EntryPoints:
    """The entry points, looked for once in a process: every installed package is opened for it."""
    return entry_points(group=GROUP)


def kinds_of(file: StrategyFile) -> tuple[str, ...]:
    """The kinds that a loaded file registered."""
    return tuple(k for k in known_kinds() if strategy_class(k).__module__ == file.module)


def _load_file(file: StrategyFile) -> None:
    loaded = _FILES.get(file.path)
    if loaded == file.module:
        return
    if loaded is not None:
        raise BadPlugin(f"{file.path}: changed since it was loaded; start hftray anew")
    module = ModuleType(file.module)
    module.__file__ = file.path
    # Known by its name before it runs: pickle and pydantic look classes up there.
    sys.modules[file.module] = module
    before = known_kinds()
    try:
        _load(file.path, lambda: exec(compile(file.text, file.path, "exec"), module.__dict__))
        if known_kinds() == before:
            raise BadPlugin(f"{file.path}: registers no strategy; put @register above its class")
    except BadPlugin:
        del sys.modules[file.module]
        raise
    _FILES[file.path] = file.module


def _load(name: str, run: Callable[[], object]) -> None:
    """Run a user's module; whatever it raises becomes a BadPlugin, and its kinds are forgotten."""
    before = set(known_kinds())
    try:
        run()
    except SyntaxError as error:
        forget(set(known_kinds()) - before)
        raise BadPlugin(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        forget(set(known_kinds()) - before)
        reason = f"{type(error).__name__}: {error}"
        raise BadPlugin(f"{_where(name, error)}: {reason}") from error


def _where(name: str, error: BaseException) -> str:
    """The name and the innermost line of the file, or of whatever else failed on its behalf."""
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == name]
    if own:
        return f"{name}, line {own[-1].lineno}"
    return f"{name} ({frames[-1].filename}, line {frames[-1].lineno})"


def _point_name(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "unknown package"
    return f"entry point {point.name} = {point.value} of {package}"
