"""Starting and stopping the whole system from one process, in order.

What is started is written to `<data-dir>/running.json`, so a second start on the same directory
finds it and `hftray down` can end it.
"""

import asyncio
import contextlib
import fcntl
import ipaddress
import json
import logging
import os
import random
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

from hftray.core.errors import ConfigError, RetryError, StopError, UnknownOutcome
from hftray.settings import Settings

if TYPE_CHECKING:
    from hftray.actors.handles import EngineHandle
    from hftray.core.ledger import RunInfo
    from hftray.planning import Plan
    from hftray.venues import BuildBroker

Progress = Callable[[str], None]

SERVE_APP = "hftray"


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started system answers."""

    pid: int
    url: str
    mode: str
    dashboard: str


class DataDirLock:
    """One system a data directory; the lock goes with the process that holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """StopError says which process holds the directory."""
        self._dir.mkdir(parents=True, exist_ok=True)
        self._file = (self._dir / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            there = running(self._dir)
            where = f" (pid {there.pid}, {there.url})" if there else ""
            raise StopError(
                f"hftray already runs on {self._dir}{where}; "
                "use another --data-dir, or `hftray down` first"
            ) from None

    def publish(self, state: Running) -> None:
        """Tell other processes where the system answers."""
        _state_file(self._dir).write_text(json.dumps(asdict(state)))

    def release(self) -> None:
        """Give the directory back."""
        _state_file(self._dir).unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()


def running(data_dir: Path) -> Running | None:
    """The system that says it runs on this directory."""
    try:
        return Running(**json.loads(_state_file(data_dir).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_locked(data_dir: Path) -> bool:
    """Whether a process holds the directory now."""
    path = data_dir / "lock"
    if not path.exists():
        return False
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _state_file(data_dir: Path) -> Path:
    return data_dir / "running.json"


def check_address(settings: Settings) -> None:
    """Refuse an open address without a token, and a port that is taken, before anything starts."""
    host, port = settings.server.host, settings.server.port
    if settings.server.api_token is None and not _is_loopback(host):
        raise ConfigError(
            f"server.host: {host} can be reached by others; set HFTRAY_API_TOKEN or use 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StopError(
                f"server.port: {port} on {host} cannot be used ({error.strerror}); "
                "set PORT or --port to a free one"
            ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may stand for any address but this one
        return host == "localhost"


@contextlib.contextmanager
def database(settings: Settings, say: Progress) -> Iterator[str]:
    """The URL of a migrated database; an embedded server is stopped at the end."""
    from hftray.storage.supervision import kept_running
    from hftray.wiring import prepare_database

    given = settings.storage.database_url
    with contextlib.ExitStack() as stack:
        if given is None:
            say("starting PostgreSQL")
            url = stack.enter_context(kept_running(settings.storage.data_dir)).url
            stack.callback(lambda: say("stopping PostgreSQL"))
        else:
            url = given.get_secret_value()
        say("bringing the database up to date")
        asyncio.run(prepare_database(settings, url))
        yield url


@contextlib.contextmanager
def reachable_database(settings: Settings) -> Iterator[str]:
    """The URL of the database, that of a running system included, which goes on afterwards."""
    from hftray.storage import embedded

    data_dir = settings.storage.data_dir
    if settings.storage.database_url is None and is_locked(data_dir):
        yield embedded.start(data_dir).url
        return
    with database(settings, lambda _: None) as url:
        yield url


class System:
    """Database, Ray, actors and API, started in this order and stopped in the reverse one."""

    def __init__(
        self,
        settings: Settings,
        ray_address: str | None,
        say: Progress,
        *,
        any_symbols: bool = False,
        build_broker: "BuildBroker | None" = None,
    ) -> None:
        self.say = say
        self.dashboard = ""
        self._settings = settings
        self._address = ray_address
        self._any_symbols = any_symbols
        self._build_broker = build_broker
        self._undo = contextlib.ExitStack()
        self._handle: EngineHandle | None = None

    @property
    def engine(self) -> "EngineHandle":
        """The engine actor."""
        if self._handle is None:
            raise StopError("the engine has not been started")
        return self._handle

    def start(self) -> None:
        """Bring everything up and begin scanning."""
        self.prepare(serve_api=True)
        self.say("first scan")
        asyncio.run(self.engine.start())

    def prepare(self, *, serve_api: bool) -> "tuple[Plan, RunInfo]":
        """Bring everything up without scanning."""
        from hftray import planning, venues, wiring
        from hftray.actors import handles

        settings = self._settings
        self.say("reading market data")
        plan = asyncio.run(planning.plan(settings, any_symbols=self._any_symbols))
        url = self._undo.enter_context(database(settings, self._tell))
        plan = replace(plan, database_url=url)
        self.dashboard = self._connect_ray()
        self.say(f"starting {len(plan.instruments) + 4} actors")
        wiring.require_free_cluster()  # before anything here could remove another's actors
        self._undo.callback(self._remove_actors)
        build_broker = self._build_broker or venues.build_broker
        run = asyncio.run(wiring.start_actors(plan, build_broker))
        if serve_api:
            self._serve(plan)
        self._handle = handles.EngineHandle()
        return plan, run

    def _tell(self, text: str) -> None:
        self.say(text)  # whoever listens now

    def stop(self) -> None:
        """Take down what was started."""
        self._undo.close()

    def _connect_ray(self) -> str:
        private = self._undo.enter_context(tempfile.TemporaryDirectory(prefix="hftray-"))
        prepare_ray_environment(Path(private))
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)
        own = self._address is None
        self.say("starting Ray" if own else f"connecting to Ray at {self._address}")
        # Shells need no whole core; what is declared here only limits how many may be placed.
        cpus = max(4, 2 + len(self._settings.symbols) // 8) if own else None
        with deferred_interrupts(), no_half_of_ray():
            context = ray.init(
                address=self._address or "local",
                namespace="hftray",
                num_cpus=cpus,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        self._undo.callback(ray.shutdown)
        self._undo.callback(lambda: self.say("stopping Ray" if own else "leaving Ray"))
        return str(context.dashboard_url or "")

    def _serve(self, plan: "Plan") -> None:
        from ray import serve

        from hftray.serving import api_application

        server = self._settings.server
        self.say("starting the REST API")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        # One address answers, also on a cluster of many nodes.
        address = {"host": server.host, "port": server.port}
        serve.start(proxy_location="HeadOnly", http_options=address)
        if self._address is not None:  # a cluster of our own goes with everything on it
            self._undo.callback(lambda: serve.delete(SERVE_APP))
        self._undo.callback(lambda: self.say("stopping the API"))
        serve.run(api_application(plan), name=SERVE_APP, route_prefix="/")

    def _remove_actors(self) -> None:
        from hftray.actors import handles, ray_calls

        self.say("stopping the engine")
        if ray_calls.ENGINE in ray_calls.living():
            with contextlib.suppress(RetryError, UnknownOutcome):
                asyncio.run(handles.EngineHandle().stop())
        for name in ray_calls.living():
            ray_calls.kill(name)


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
