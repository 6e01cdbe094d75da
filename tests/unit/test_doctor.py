"""`hftray doctor` about this machine: when a line warns, when it fails, and that it says why."""

import sqlite3
from collections import namedtuple
from datetime import date
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

from hftray.commands import doctor, doctor_machine
from hftray.commands.findings import Finding, Health, failing, fine, warning
from hftray.exchange_data import exchange_tables
from hftray.layers import load

Usage = namedtuple("Usage", "total used free")
GIGABYTE = 1_000_000_000


def test_a_disk_with_room_is_fine_and_nothing_is_left_on_it(tmp_path):
    found = doctor_machine.disk(tmp_path / "new")
    assert found.health is not Health.FAILING  # a slow one may be warned about
    assert "a durable commit takes" in found.detail
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("free", "seconds", "health"),
    [
        (100 * GIGABYTE, 0.001, Health.FINE),
        (GIGABYTE, 0.001, Health.WARNING),
        (100 * GIGABYTE, 0.5, Health.WARNING),
        (GIGABYTE // 10, 0.001, Health.FAILING),
    ],
)
def test_a_full_or_slow_disk(tmp_path, monkeypatch, free, seconds, health):
    monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda _: Usage(free, 0, free))
    monkeypatch.setattr(doctor_machine, "_commit", lambda _: seconds)
    found = doctor_machine.disk(tmp_path)
    assert found.health is health
    assert bool(found.remedy) is (health is not Health.FINE)


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    found = doctor_machine.disk(tmp_path / "file")
    assert (found.health, "--data-dir" in found.remedy) == (Health.FAILING, True)

    def refuses(_):
        raise sqlite3.OperationalError("readonly database")

    monkeypatch.setattr(doctor_machine, "_commit", refuses)
    found = doctor_machine.disk(tmp_path)
    assert (found.health, "readonly" in found.detail) == (Health.FAILING, True)


def test_a_database_that_is_away_is_told_without_its_password(tmp_path):
    url = "postgresql://me:hidden-word@127.0.0.1:9/none"
    flags = {"storage.database_url": url, "storage.data_dir": tmp_path}
    found = doctor_machine.database(load(flags=flags, environment={}).settings)
    assert found.health is Health.FAILING
    assert "DATABASE_URL: cannot reach PostgreSQL at" in found.detail
    assert "hidden-word" not in repr(found)


@pytest.mark.parametrize(("free", "health"), [(64, Health.FINE), (1, Health.WARNING)])
def test_memory_for_the_actors(monkeypatch, free, health):
    memory = SimpleNamespace(available=free * GIGABYTE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = doctor_machine.ray(10)
    assert found.health is health
    assert "2,300 MB wanted for 10 symbols" in found.detail


def test_the_calendars_horizon_is_told_a_month_ahead():
    horizon = exchange_tables()[1].horizon
    early = doctor_machine.calendar(date(horizon.year, 11, 26))
    late = doctor_machine.calendar(date(horizon.year, 12, 4))
    assert (early.health, late.health) == (Health.FINE, Health.WARNING)
    assert f"known to {horizon}" in early.detail
    assert "upgrade exchange_calendars" in late.remedy
    assert "is a trading day" in early.detail
    assert "is no trading day" in doctor_machine.calendar(date(horizon.year, 11, 22)).detail


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([fine("disk", "roomy")], 0),
        ([fine("disk", "roomy"), warning("Ray", "tight [of memory]", "add a node")], 0),
        ([failing("disk", "full", "make room"), fine("Ray", "enough")], 1),
    ],
)
def test_only_what_fails_makes_the_exit_code_1(monkeypatch, tmp_path, found: list[Finding], code):
    monkeypatch.setattr(doctor, "machine", lambda *_: iter(found))
    arguments = ["--mode", "simulation", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(doctor.commands, arguments)
    assert done.exit_code == code
    for one in found:
        [line] = [text for text in done.output.splitlines() if one.detail in text]
        assert line.split()[:2] == [one.health.value, one.subject]
        assert one.remedy in done.output


def test_stream_libraries_that_are_absent(monkeypatch):
    from hftray.commands.doctor_broker import _stream

    monkeypatch.setattr("hftray.adapters.groww.stream_state.find_spec", lambda _: None)
    found = _stream()
    assert (found.health, found.detail) == (Health.WARNING, "prices are polled")
    assert "hftray[groww]" in found.remedy
