"""Groww keys at rest: the key file, rotation, and what the table really holds."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.catalog_rows import NewUser
from hftray.core.errors import StopError
from hftray.storage.catalog import Catalog
from hftray.storage.secrets import KEY_FILE, KEY_VARIABLE, SecretBox


def fresh_key() -> str:
    return Fernet.generate_key().decode()


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    token = SecretBox.open(tmp_path / "data", {}).encrypt("groww-secret")
    key = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == [KEY_FILE]
    assert SecretBox.open(tmp_path / "data", {}).decrypt(token) == "groww-secret"


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_the_key_file_is_private_under_every_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        SecretBox.open(tmp_path, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    SecretBox.open(tmp_path, {})
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(StopError, match="chmod 600"):
        SecretBox.open(tmp_path, {})


def test_the_environment_s_keys_win_and_leave_no_file(tmp_path: Path) -> None:
    SecretBox.open(tmp_path, {KEY_VARIABLE: fresh_key()})
    assert list(tmp_path.iterdir()) == []


def test_keys_rotate(tmp_path: Path) -> None:
    old, new = fresh_key(), fresh_key()
    token = SecretBox.open(tmp_path, {KEY_VARIABLE: old}).encrypt("s")
    both = SecretBox.open(tmp_path, {KEY_VARIABLE: f"{new}, {old}"})
    assert both.decrypt(token) == "s"
    assert SecretBox.open(tmp_path, {KEY_VARIABLE: new}).decrypt(both.encrypt("t")) == "t"


def test_a_wrong_key_is_named_without_showing_it(tmp_path: Path) -> None:
    token = SecretBox.open(tmp_path, {KEY_VARIABLE: fresh_key()}).encrypt("s")
    with pytest.raises(StopError, match=KEY_VARIABLE):
        SecretBox.open(tmp_path, {KEY_VARIABLE: fresh_key()}).decrypt(token)
    with pytest.raises(StopError, match=KEY_VARIABLE) as caught:
        SecretBox.open(tmp_path, {KEY_VARIABLE: "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_key_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StopError, match=KEY_FILE):
        SecretBox.open(tmp_path, {})


async def test_the_table_holds_no_readable_key(engine: AsyncEngine) -> None:
    catalog = Catalog(engine, SecretBox(fresh_key(), "test"))
    user = NewUser("anita", groww_api_key="plain-key", groww_api_secret="plain-secret")
    await catalog.create_user(user)
    async with engine.connect() as connection:
        everything = await connection.execute(text("SELECT users::text FROM users"))
        (stored,) = everything.scalars()
    assert "anita" in stored
    assert "plain" not in stored
    keys = await catalog.groww_credentials("anita")
    assert keys is not None
    assert keys.api_secret == "plain-secret"
    assert "plain" not in repr(user)


async def test_another_secret_key_stops_with_what_to_do(engine: AsyncEngine) -> None:
    user = NewUser("anita", groww_api_key="k", groww_api_secret="s")
    await Catalog(engine, SecretBox(fresh_key(), "test")).create_user(user)
    stranger = Catalog(engine, SecretBox(fresh_key(), "the key file"))
    assert (await stranger.get_user("anita")).has_groww_credentials
    with pytest.raises(StopError, match="the key file"):
        await stranger.groww_credentials("anita")
