"""How Ray is started here: with files and ports of its own, whole or not at all."""

import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from hftray.core.errors import StopError


@contextlib.contextmanager
def no_half_of_ray() -> Iterator[None]:
    """StopError when Ray does not come up, and nothing of it is left running then."""
    here = psutil.Process()
    before = {child.pid for child in here.children(recursive=True)}
    try:
        yield
    except Exception as error:  # Ray tells a part of it that is late by a plain Exception
        for child in here.children(recursive=True):
            if child.pid not in before:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        text = str(error).strip().splitlines()
        raise StopError(
            f"Ray did not start: {text[0] if text else repr(error)} "
            "Try again, with less going on on this machine"
        ) from error


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is left; Ray survives none while it starts."""
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda n, _: asked.append(n)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt


def prepare_ray_environment(private: Path) -> None:
    """Files and ports of its own for this cluster; what the user has set already stays."""
    defaults = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(private / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(private / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(private),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(private / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
        # Serve waits five seconds for its proxy and kills it; a busy machine needs more.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Twenty small actors on two cores are intended; without this Ray warns about them.
        "RAY_worker_maximum_startup_concurrency": "8",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def free_port() -> int:
    """A TCP port of this machine that nobody uses at the moment.

    It lies below the range from which the system gives ports to whoever asks for any, so that
    none of the many processes of a starting cluster takes it meanwhile.
    """
    for port in random.sample(range(20_000, 30_000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port
    raise StopError("no free TCP port between 20000 and 30000")
