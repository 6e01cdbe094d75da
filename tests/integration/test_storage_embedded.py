"""The embedded server's life: start, find, kill, recover, stop."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url, text

from hftray.core.errors import LedgerUnavailable, StopError
from hftray.core.ledger import RiskStateChanged
from hftray.core.session import IST
from hftray.storage import embedded
from hftray.storage.database import connect, reachable
from hftray.storage.ledger import PostgresLedger
from hftray.storage.schema import migrate, seed

AT = datetime(2026, 11, 23, 9, 15, tzinfo=IST)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hftray-pg-") as directory:
        path = Path(directory) / "data"
        yield path
        if (path / "postgres").exists():
            # Also after a failed test: whatever runs on this directory ends with it.
            embedded.start(path).stop()


async def ask(url: str, question: str) -> object:
    engine = connect(url)
    try:
        async with reachable(engine), engine.connect() as connection:
            return await connection.scalar(text(question))
    finally:
        await engine.dispose()


async def test_a_start_finds_the_running_server(data_dir: Path) -> None:
    with ThreadPoolExecutor() as pool:  # at once, as two `hftray up` would
        first, second = pool.map(embedded.start, [data_dir, data_dir])
    assert first == second
    assert await ask(first.url, "SELECT current_setting('fsync')") == "on"
    assert await ask(first.url, "SELECT current_setting('synchronous_commit')") == "on"
    assert await ask(first.url, "SELECT current_setting('listen_addresses')") == ""


async def test_only_the_owner_reaches_the_data_and_the_socket(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    postmaster = psutil.Process(server.pid)
    assert postmaster.uids().effective != 0
    assert server.directory.stat().st_uid == postmaster.uids().effective


def test_the_server_outlives_the_process_that_started_it(data_dir: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hftray.storage import embedded; "
        "print(embedded.start(Path(sys.argv[1])).pid)"
    )
    command = [sys.executable, "-c", program, str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert embedded.start(data_dir).pid == int(done.stdout)


async def test_stop_ends_it_and_is_idempotent(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    await ask(server.url, "SELECT 1")
    server.stop()
    server.stop()
    assert not psutil.pid_exists(server.pid) or _is_zombie(server.pid)
    with pytest.raises(LedgerUnavailable, match="is away"):
        await ask(server.url, "SELECT 1")
    assert embedded.start(data_dir).url == server.url


async def test_a_killed_server_comes_back_with_its_data_and_the_ledger_heals(
    data_dir: Path,
) -> None:
    server = embedded.start(data_dir)
    await migrate(server.url)
    engine = connect(server.url)
    await seed(engine, [])
    ledger = PostgresLedger(engine)
    run = await ledger.open_run("simulation", "seed 7", "default", Decimal(1))
    first = RiskStateChanged(run.run_id, "REDUCING", "first", "risk", AT)
    second = RiskStateChanged(run.run_id, "HALTED", "second", "risk", AT)
    await ledger.append([first])
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(LedgerUnavailable):
        await _append_until_noticed(ledger, first)
    again = embedded.start(data_dir)
    assert again.url == server.url
    await ledger.append([first, second])  # the same ledger, the same engine
    assert (await ledger.run_state(run.run_id)).risk_reason == "second"
    async with engine.connect() as connection:
        count = await connection.scalar(text("SELECT count(*) FROM risk_events"))
    assert count == 2
    await engine.dispose()


async def test_a_clean_restart_heals_without_an_error(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    await migrate(server.url)
    engine = connect(server.url)
    await seed(engine, [])
    ledger = PostgresLedger(engine)
    run = await ledger.open_run("simulation", "seed 7", "default", Decimal(1))
    server.stop()
    embedded.start(data_dir)
    assert (await ledger.run_state(run.run_id)).run == run
    await engine.dispose()


def test_a_stale_lock_whose_process_id_is_taken_is_no_server(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    lock = server.directory / "postmaster.pid"
    lines = lock.read_text().splitlines()
    owner = lock.stat()
    server.stop()
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid or None) as stranger:
        lines[0] = str(stranger.pid)
        lock.write_text("\n".join(lines) + "\n")
        os.chown(lock, owner.st_uid, owner.st_gid)
        again = embedded.start(data_dir)
        assert again.pid != stranger.pid
        assert stranger.poll() is None
        stranger.kill()


async def test_a_long_path_still_works(data_dir: Path) -> None:
    deep = data_dir / ("a folder's name " + "x" * 90)
    server = embedded.start(deep)
    try:
        assert await ask(server.url, "SELECT 1") == 1
        assert embedded.start(deep) == server
    finally:
        server.stop()
    sockets = make_url(server.url).query["host"]
    assert not Path(str(sockets)).exists()


def test_a_server_that_cannot_start_shows_its_log(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    server.stop()
    settings = server.directory / "postgresql.auto.conf"
    settings.write_text("shared_buffers = 'nonsense'\n")
    with pytest.raises(StopError, match="nonsense"):
        embedded.start(data_dir)
    settings.write_text("")


def test_a_half_made_cluster_is_made_anew(data_dir: Path) -> None:
    draft = data_dir / "postgres.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    assert psutil.pid_exists(embedded.start(data_dir).pid)


async def _append_until_noticed(ledger: PostgresLedger, event: RiskStateChanged) -> None:
    """Backends outlive a killed postmaster for a moment and still answer."""
    async with asyncio.timeout(10):
        while True:
            await ledger.append([event])


def _is_zombie(pid: int) -> bool:
    """Where nobody reaps orphans, an ended process stays listed."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
