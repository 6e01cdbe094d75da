"""Groww keys at rest: encrypted with a key that lives outside the database.

The key comes from `HFTRAY_SECRET_KEY` (several, comma-separated, for rotation: the first
encrypts, all decrypt) or from `<data-dir>/secret.key`, which is made at first use.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hftray.core.errors import StopError

KEY_VARIABLE = "HFTRAY_SECRET_KEY"
KEY_FILE = "secret.key"


class SecretBox:
    """Encrypts and decrypts short texts; its repr shows nothing."""

    def __init__(self, keys: str, source: str) -> None:
        """`keys` are Fernet keys, comma-separated; `source` names them in messages."""
        try:
            fernets = [Fernet(key.strip()) for key in keys.split(",") if key.strip()]
        except ValueError:
            raise StopError(
                f"{source} holds no valid key: each must be 32 bytes in URL-safe base64"
            ) from None
        if not fernets:
            raise StopError(f"{source} is empty")
        self._fernet = MultiFernet(fernets)
        self._source = source

    @classmethod
    def open(cls, data_dir: Path, environment: Mapping[str, str] = os.environ) -> Self:
        """The keys of the environment, else those of the data directory (made when missing).

        StopError when the file can be read by others than its owner, or holds no key.
        """
        given = environment.get(KEY_VARIABLE)
        if given:
            return cls(given, KEY_VARIABLE)
        path = data_dir / KEY_FILE
        return cls(_read_or_create(path), str(path))

    def encrypt(self, text: str) -> str:
        """The text as a token for the database."""
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """The text of a token. StopError when none of the keys made it."""
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except InvalidToken:
            raise StopError(
                f"a stored secret cannot be decrypted with {self._source}: bring back the key "
                f"that encrypted it (in {KEY_VARIABLE}), or set the Groww keys of the user again"
            ) from None


def _read_or_create(path: Path) -> str:
    if not path.exists():
        _create(path)
    with path.open() as file:
        mode = os.fstat(file.fileno()).st_mode  # of what is read, whoever swaps the file meanwhile
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StopError(
                f"{path} can be used by others (mode {stat.S_IMODE(mode):o}): chmod 600 it"
            )
        return file.read()


def _create(path: Path) -> None:
    """Write a new key whole or not at all; of two processes at once, the first one's key stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
