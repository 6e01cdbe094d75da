"""Ray nodes, a small disk and processes that come and go with a chaos run."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from hftray.launch import Progress
from hftray.ray_start import free_port, no_half_of_ray

OBJECT_STORE = 80 * 1024 * 1024
# A node that does not answer is declared dead after about two and a half seconds.
HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
JOURNAL_DISK = 64 * 1024 * 1024


def raylet_pid(node: Any) -> int:
    """The process id of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


@contextlib.contextmanager
def ray_cluster(say: Progress, keep_logs: Callable[[Path], None]) -> Iterator[Any]:
    """A head node with files and ports of its own; its logs are handed over at the end."""
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    private = tempfile.mkdtemp(prefix="hcr-")  # short: sockets lie below it
    say("starting a Ray cluster")
    cluster: Any = None
    try:
        with no_half_of_ray():
            cluster = Cluster(
                initialize_head=True,
                shutdown_at_exit=False,
                head_node_args={
                    "num_cpus": 0,
                    "object_store_memory": OBJECT_STORE,
                    "include_dashboard": False,
                    "include_log_monitor": False,
                    "dashboard_agent_listen_port": free_port(),
                    "temp_dir": private,
                    "_system_config": HEALTH_CHECKS,
                },
            )
        yield cluster
    finally:
        say("stopping the Ray cluster")
        below = psutil.Process().children(recursive=True)
        if cluster is not None:
            with contextlib.suppress(AssertionError, OSError):
                cluster.shutdown()
        end(below)
        keep_logs(Path(private) / "session_latest" / "logs")
        shutil.rmtree(private, ignore_errors=True)


def end(processes: list[psutil.Process]) -> None:
    """Kill what is still alive of these."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)
            process.kill()
    psutil.wait_procs(processes, timeout=10)


@contextlib.contextmanager
def journal_disk(directory: Path, keep: Callable[[], bool]) -> Iterator[bool]:
    """A small disk for the journal, so that it can be filled; False where mounting is refused."""
    directory.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={JOURNAL_DISK},mode=0700", "hftray-chaos"]
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            [*command, str(directory)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            if keep():
                shutil.copytree(directory, directory.with_name("journal-kept"))
            subprocess.run(["umount", "-l", str(directory)], check=False)
