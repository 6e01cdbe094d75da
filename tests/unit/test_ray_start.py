"""A Ray that does not come up is told in one line, and nothing of it stays behind."""

import subprocess
import sys

import psutil
import pytest

from hftray.core.errors import StopError
from hftray.ray_start import no_half_of_ray


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_processes_of_a_failed_start_are_ended_and_others_are_not() -> None:
    own = sleeper()
    started: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        with no_half_of_ray():
            started.append(sleeper())
            raise OSError("the raylet is late\nand more")

    try:
        with pytest.raises(StopError, match="Ray did not start: the raylet is late"):
            fail()
        assert started[0].wait(10) != 0
        assert psutil.Process(own.pid).is_running()
    finally:
        for process in (own, *started):
            process.kill()
            process.wait()


def test_a_good_start_ends_nothing() -> None:
    with no_half_of_ray():
        process = sleeper()
    try:
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
