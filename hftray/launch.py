"""Starting and stopping the whole system from one process, in order."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hftray.core.errors import ConfigError, RetryError, StopError, UnknownOutcome
from hftray.data_dir import is_locked
from hftray.ray_start import deferred_interrupts, no_half_of_ray, prepare_ray_environment
from hftray.settings import Settings

if TYPE_CHECKING:
    from hftray.actors.engine_handle import EngineHandle
    from hftray.core.ledger import RunInfo
    from hftray.planning import Plan
    from hftray.venues import BuildBroker

Progress = Callable[[str], None]

SERVE_APP = "hftray"


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
        from hftray.actors.engine_handle import EngineHandle

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
        self._handle = EngineHandle()
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
        from hftray.actors import ray_calls
        from hftray.actors.engine_handle import EngineHandle

        self.say("stopping the engine")
        if ray_calls.ENGINE in ray_calls.living():
            with contextlib.suppress(RetryError, UnknownOutcome):
                asyncio.run(EngineHandle().stop())
        for name in ray_calls.living():
            ray_calls.kill(name)
