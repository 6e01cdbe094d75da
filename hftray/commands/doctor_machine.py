"""`hftray doctor`, this machine: database, disk, Ray, the calendar."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from hftray import launch
from hftray.commands.findings import Finding, failing, fine, warning
from hftray.core.errors import HftrayError
from hftray.data_dir import is_locked
from hftray.settings import Settings

MEGABYTE = 1_000_000
LEAST_DISK, LITTLE_DISK = 200 * MEGABYTE, 2_000 * MEGABYTE
NO_PLACE = "give this user a directory it may write (--data-dir)"
SLOW_COMMIT = 0.1  # seconds; every order waits for one
SOON = timedelta(days=30)
# A symbol actor takes about 64 MB of its own, the rest of the system about 1.5 GB
# (docs/performance.md).
PER_SYMBOL, THE_REST = 80 * MEGABYTE, 1_500 * MEGABYTE


def machine(settings: Settings, today: date) -> Iterator[Finding]:
    """Everything that needs no broker."""
    yield disk(settings.storage.data_dir)
    yield database(settings)
    yield ray(len(settings.symbols))
    yield calendar(today)


def disk(data_dir: Path) -> Finding:
    """Room, and how long a commit takes that survives a power cut."""
    subject = "disk"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(data_dir).free
    except OSError as error:
        return failing(subject, str(error), NO_PLACE)
    if free < LEAST_DISK:
        detail = f"{data_dir}: {free // MEGABYTE} MB free"
        return failing(subject, detail, "make room: the journal must not fill the disk")
    probe = data_dir / "doctor.sqlite"
    try:
        seconds = _commit(probe)
    except sqlite3.Error as error:
        return failing(subject, f"{data_dir}: {error}", NO_PLACE)
    finally:
        probe.unlink(missing_ok=True)
    detail = (
        f"{data_dir}: {free // MEGABYTE:,} MB free, a durable commit takes {seconds * 1e3:.1f} ms"
    )
    if free < LITTLE_DISK or seconds > SLOW_COMMIT:
        return warning(
            subject, detail, "use a larger or faster disk: every order waits for a commit"
        )
    return fine(subject, detail)


def _commit(path: Path) -> float:
    with sqlite3.connect(path, isolation_level=None) as probe:
        probe.execute("PRAGMA synchronous=FULL")
        probe.execute("CREATE TABLE probe (value INTEGER)")
        began = time.perf_counter()
        probe.execute("INSERT INTO probe VALUES (1)")
        seconds = time.perf_counter() - began
    probe.close()
    return seconds


def database(settings: Settings) -> Finding:
    """Whether PostgreSQL answers and its schema fits; starts the embedded one for that."""
    subject = "database"
    running = is_locked(settings.storage.data_dir)
    if settings.storage.database_url is None and running:
        return fine(subject, "the embedded PostgreSQL of the running system")
    where = "embedded PostgreSQL" if settings.storage.database_url is None else "DATABASE_URL"
    try:
        with launch.database(settings, lambda _: None):
            return fine(subject, f"{where} answers, its schema is up to date")
    except HftrayError as error:
        return failing(
            subject, f"{where}: {error}", "see the message; the README has a table of them"
        )


def ray(symbols: int) -> Finding:
    """Whether this machine carries the actors."""
    import psutil
    import ray as library

    free = psutil.virtual_memory().available
    needed = THE_REST + symbols * PER_SYMBOL
    cores = os.cpu_count() or 1
    detail = (
        f"Ray {library.__version__}, {cores} cores, {free // MEGABYTE:,} MB of memory free, "
        f"about {needed // MEGABYTE:,} MB wanted for {symbols} symbols"
    )
    if free < needed:
        return warning("Ray", detail, "trade fewer symbols here, or add nodes (--ray-address)")
    return fine("Ray", detail)


def calendar(today: date) -> Finding:
    """How far the exchange's days are known, and what today is."""
    from hftray.exchange_data import exchange_tables

    _, known = exchange_tables()
    doubt = known.warning(today) or known.warning(today + SOON)
    what = "a trading day" if known.is_session(today) else "no trading day"
    detail = f"today, {today}, is {what}; holidays are known to {known.horizon}"
    if doubt:
        return warning("calendar", detail, doubt)
    return fine("calendar", detail)
