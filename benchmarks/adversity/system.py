"""The system under chaos: a Ray cluster of several nodes, PostgreSQL, the actors, the REST API.

The nodes are raylets of this machine with object stores of their own. Every process started here
is a descendant of this one or written down, so that taking down reaches all of them by id.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from adversity.cluster import OBJECT_STORE, end, journal_disk, ray_cluster, raylet_pid
from adversity.venue import Venue
from hftray import launch, ray_start, wiring
from hftray.layers import default_file, read_yaml
from hftray.settings import Settings

WORKER_CPUS = 3  # each node alone can carry all symbols
WORKER_NODES = 2


@dataclass(slots=True)
class ChaosSystem:
    """What runs, and where its parts are."""

    settings: Settings
    cluster: Any
    system: launch.System
    venue: Venue
    journal: Path
    tmpfs: bool
    """Whether the journal lies on a disk of its own, which can be filled."""
    strays: dict[int, float] = field(default_factory=dict)
    """Processes by id with the time they were created, which may outlive their node."""

    @property
    def data_dir(self) -> Path:
        """Everything the system keeps on disk."""
        return self.settings.storage.data_dir

    @property
    def api(self) -> str:
        """Where the REST API answers."""
        return f"http://127.0.0.1:{self.settings.server.port}"

    @property
    def postgres(self) -> psutil.Process | None:
        """The live postmaster."""
        return postmaster(self.data_dir)

    @property
    def postgres_socket(self) -> str:
        """The directory of PostgreSQL's socket; the same over restarts."""
        lines = (self.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        return lines[4].strip()

    def actors(self) -> dict[str, psutil.Process]:
        """Live processes of hftray's named actors and of the API replicas (`api`, `api:1` …)."""
        from ray._private import state

        found: dict[str, psutil.Process] = {}
        replicas = 0
        for row in state.actors(actor_state_name="ALIVE").values():
            name = row["Name"]
            if row.get("RayNamespace", "hftray") == "serve" or "SERVE" in name:
                if "hftray#api" not in name:
                    continue
                name = f"api:{replicas}" if replicas else "api"
                replicas += 1
            with contextlib.suppress(psutil.Error):
                found[name] = psutil.Process(row["Pid"])
        return found

    def add_node(self) -> Any:
        """One more worker node."""
        return self.cluster.add_node(
            num_cpus=WORKER_CPUS, object_store_memory=OBJECT_STORE, include_log_monitor=False
        )

    def workers_of(self, node: Any) -> list[psutil.Process]:
        """The raylet of a node and everything below it."""
        raylet = psutil.Process(raylet_pid(node))
        return [raylet, *raylet.children(recursive=True)]

    def remember(self, processes: list[psutil.Process]) -> None:
        """Look after these at the end, whatever becomes of their parents."""
        for process in processes:
            with contextlib.suppress(psutil.Error):
                self.strays[process.pid] = process.create_time()


@contextlib.contextmanager
def running(
    venue: Venue,
    symbols: tuple[str, ...],
    *,
    seed: int,
    keep: Callable[[], bool],
    say: launch.Progress,
) -> Iterator[ChaosSystem]:
    """Everything up and scanning; at the end nothing of it is left but, when kept, its files."""
    with contextlib.ExitStack() as undo:
        data_dir = Path(tempfile.mkdtemp(prefix="hftray-chaos-"))

        def keep_logs(logs: Path) -> None:
            if keep():
                shutil.copytree(logs, data_dir / "ray-logs", ignore_dangling_symlinks=True)

        def put_away() -> None:
            if keep():
                say(f"kept {data_dir} with the logs of all processes")
            else:
                shutil.rmtree(data_dir, ignore_errors=True)

        undo.callback(put_away)
        undo.callback(end_postgres, data_dir)
        settings = venue.settings(data_dir, symbols, seed)
        journal = journal_directory(settings)
        tmpfs = undo.enter_context(journal_disk(journal, keep))
        private = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hftray-")))
        ray_start.prepare_ray_environment(private)
        cluster = undo.enter_context(ray_cluster(say, keep_logs))
        system = launch.System(settings, cluster.address, say, build_broker=venue.build_broker)
        chaos = ChaosSystem(settings, cluster, system, venue, journal, tmpfs)
        undo.callback(end_strays, chaos)
        for _ in range(WORKER_NODES):
            chaos.add_node()
        undo.callback(stop_orderly, chaos, say)
        system.start()
        yield chaos


def listed_symbols(number: int) -> tuple[str, ...]:
    """The first shares of config/instruments.yaml."""
    return tuple(read_yaml(default_file("instruments.yaml"))["shares"])[:number]


def postmaster(data_dir: Path) -> psutil.Process | None:
    """The live process of the data directory's PostgreSQL."""
    try:
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        same = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, IndexError, ValueError, psutil.Error):
        return None
    return process if same else None


def end_postgres(data_dir: Path) -> None:
    """Kill a PostgreSQL that nobody stopped."""
    if (living := postmaster(data_dir)) is not None:
        end([living, *living.children(recursive=True)])


def journal_directory(settings: Settings) -> Path:
    """Where the journal is going to lie, which depends on the database."""
    from hftray.storage import embedded
    from hftray.storage.database import connect
    from hftray.storage.schema import identity

    url = embedded.start(settings.storage.data_dir).url

    async def named() -> Path:
        await wiring.prepare_database(settings, url)
        engine = connect(url)
        try:
            return wiring.record_directory(settings, await identity(engine))
        finally:
            await engine.dispose()

    return asyncio.run(named())


def stop_orderly(chaos: ChaosSystem, say: launch.Progress) -> None:
    """Engine, API, actors, PostgreSQL; what does not stop is ended after it."""
    try:
        chaos.system.stop()
    except Exception as error:  # noqa: BLE001  # whatever it is, the rest must still come down
        say(f"did not stop in order: {error!r}")


def end_strays(chaos: ChaosSystem) -> None:
    """Wake and end processes whose node died without them."""
    left = []
    for pid, created in chaos.strays.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() == created:
                left.append(process)
    end(left)
