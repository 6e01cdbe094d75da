"""`hftray status`, `kill`, `resume`, `settle`, `confirm` against the API over a recording desk."""

import asyncio
import os

import httpx
import pytest
from api_world import D, FakeDesk, filled_ledger
from typer.testing import CliRunner

from hftray.api.app import create_app
from hftray.api.dependencies import ApiSettings, Services
from hftray.cli import app as command_line
from hftray.data_dir import DataDirLock, Running
from hftray.testing.memory_catalog import MemoryCatalog

URL = "http://127.0.0.1:5000"


@pytest.fixture
def desk():
    return FakeDesk()


@pytest.fixture
def directory(tmp_path):
    """The data directory of a system that runs."""
    lock = DataDirLock(tmp_path)
    lock.acquire()
    lock.publish(Running(os.getpid(), URL, "simulation", ""))
    yield tmp_path
    lock.release()


@pytest.fixture(params=[None, "a secret"], ids=["open", "token"], autouse=True)
def token(request, desk, monkeypatch):
    catalog = MemoryCatalog(asyncio.run(filled_ledger()))
    api = create_app(Services(catalog, desk, ApiSettings(version="1", token=request.param)))
    network = httpx.ASGITransport(api, raise_app_exceptions=False)

    async def answer(*request, **options):
        async with httpx.AsyncClient(transport=network) as client:
            return await client.request(*request, **options)

    def served(*request, **options):
        return asyncio.run(answer(*request, **options))

    monkeypatch.setattr(httpx, "request", served)
    if request.param is not None:
        monkeypatch.setenv("HFTRAY_API_TOKEN", request.param)
    return request.param


def run(*arguments, directory):
    return CliRunner().invoke(
        command_line, [*arguments, "--data-dir", str(directory)], env={"COLUMNS": "200"}
    )


def test_kill_says_what_is_left_to_close(directory, desk):
    done = run("kill", "--reason", "drill", directory=directory)
    assert done.exit_code == 0
    assert done.stdout == "risk is HALTED; 1 position is still open\n"
    assert desk.calls == [("kill", "drill", "api")]


@pytest.mark.parametrize(
    ("left", "said"), [(0, "no position is open"), (2, "2 positions are still open")]
)
def test_kill_needs_no_reason_and_counts(directory, desk, left, said):
    desk.picture["status"]["open_positions"] = left
    done = run("kill", directory=directory)
    assert said in done.stdout
    ((_, reason, _),) = desk.calls
    assert reason


def test_settle_tells_what_was_recorded(directory, desk):
    command = ("settle", "BSE:RELIANCE", "--price", "950.50", "--reason", "sold in the app")
    done = run(*command, directory=directory)
    assert "20 shares of BSE:RELIANCE settled at 950.50" in done.output
    assert desk.calls == [("settle", "BSE:RELIANCE", D("950.50"), "sold in the app", "api")]
    assert run(*command[:4], directory=directory).exit_code == 2


def test_confirm_tells_what_was_recorded(directory, desk):
    order, reason = "20260601E0H3K9QZ7M2A", ("--reason", "read in the app")
    done = run("confirm", order, "--price", "1400.50", *reason, directory=directory)
    assert "20 shares of INFY confirmed at 1400.50, booked at 1400.00" in done.output
    done = run("confirm", order, *reason, directory=directory)
    assert f"order {order}: confirmed that no share of it traded" in " ".join(done.output.split())
    assert desk.calls == [
        ("confirm", order, D("1400.50"), "read in the app", "api"),
        ("confirm", order, None, "read in the app", "api"),
    ]
    assert run("confirm", order, directory=directory).exit_code == 2


def test_resume_needs_a_reason_and_shows_the_state(directory, desk):
    assert run("resume", directory=directory).exit_code == 2
    blank = run("resume", "--reason", "  ", directory=directory)
    assert blank.exit_code == 1
    assert "422: reason: " in blank.stdout
    assert desk.calls == []
    done = run("resume", "--reason", "drill is over", directory=directory)
    assert (done.exit_code, done.stdout) == (0, "risk is ACTIVE\n")
    assert desk.calls == [("resume", "drill is over", "api")]


def test_status_lists_what_the_system_tells(directory):
    done = run("status", directory=directory)
    assert done.exit_code == 0
    assert "100412.35" in done.stdout
    assert "RELIANCE" in done.stdout


@pytest.mark.parametrize("command", [("status",), ("kill",), ("resume", "--reason", "x")])
def test_without_a_running_system_they_say_so(tmp_path, desk, command):
    done = run(*command, directory=tmp_path)
    assert done.exit_code == 1
    assert "does not run on" in done.stdout
    assert desk.calls == []


def test_a_missing_token_is_named(directory, desk, token, monkeypatch):
    monkeypatch.delenv("HFTRAY_API_TOKEN", raising=False)
    done = run("kill", directory=directory)
    assert done.exit_code == (0 if token is None else 1)
    assert ("HFTRAY_API_TOKEN" in done.stdout) is (token is not None)
    assert bool(desk.calls) is (token is None)


def test_a_system_that_does_not_answer_is_an_error_of_one_line(directory, monkeypatch):
    def refuse(*_arguments, **_options):
        raise httpx.ConnectError("[Errno 111] Connection refused")

    monkeypatch.setattr(httpx, "request", refuse)
    done = run("kill", directory=directory)
    assert done.exit_code == 1
    assert done.stdout.count("\n") == 1
    assert "does not answer yet: [Errno 111]" in done.stdout
