"""Structured logs: one JSON object a line, with secrets masked."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_SECRET_NAME = "token|secret|passw(?:or)?d|api_?key|authorization|credential"
_SECRET_KEY = re.compile(_SECRET_NAME, re.IGNORECASE)
# In text: `api_secret=…`, `'api_secret': '…'`, `secret=b'…'`. Prose such as "the token: none was
# given" stays.
_SECRET_VALUE = re.compile(
    rf"""((?:{_SECRET_NAME})\w{{0,40}}(?:\s*=\s*|["']\s*:\s*)(?:b?["'])?)"""
    r"""(?:bearer\s+)?[^\s"',;&)}]+""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer\s+)[\w.~+/=-]{4,}", re.IGNORECASE)
# Up to the last @, as a password may hold one itself.
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S+@")
_PATTERNS = ((_URL_PASSWORD, r"\1***@"), (_SECRET_VALUE, r"\1***"), (_BEARER, r"\1***"))


def mask(text: str) -> str:
    """The text without the passwords of URLs, the values of secrets and the tokens in it."""
    for pattern, kept in _PATTERNS:
        text = pattern.sub(kept, text)
    return text


class StructuredLogger:
    """Writes an event with named facts; `log.warning("order refused", symbol="TCS")`."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(f"hftray.{name}")
        self._name = name

    def info(self, event: str, **facts: Any) -> None:
        """Something a reader of the log wants to know."""
        self._write(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Something went wrong and was dealt with."""
        self._write(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Something went wrong that a person should look at."""
        self._write(logging.ERROR, event, facts)

    def _write(self, level: int, event: str, facts: dict[str, Any]) -> None:
        if not self._log.isEnabledFor(level):
            return
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": logging.getLevelName(level).lower(),
            "component": self._name,
            "event": mask(event),
            **{key: _shown(key, value) for key, value in facts.items()},
        }
        self._log.log(level, json.dumps(record))


def _shown(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key):
        return "***"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _shown(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown("", inner) for inner in value]
    return mask(str(value))


def logger(name: str) -> StructuredLogger:
    """The logger of one component."""
    return StructuredLogger(name)


def configure(level: str = "INFO") -> None:
    """Send the log lines to standard error; call once in each process."""
    root = logging.getLogger("hftray")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)
        root.propagate = False
    root.setLevel(level)
