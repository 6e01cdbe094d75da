"""The REST API as a Ray Serve application: over a system that runs, or bringing one up itself."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hftray import __version__, observe
from hftray.actors import ray_calls
from hftray.actors.engine_handle import EngineHandle
from hftray.layers import load
from hftray.planning import Plan, plan
from hftray.strategies.plugins import load_plugins
from hftray.wiring import backtest_terms, build_catalog, prepare_database, start_actors

if TYPE_CHECKING:
    from ray.serve import Application


class ApiReplica:
    """One replica of the REST API on Ray Serve."""

    async def __init__(self, chosen: Plan) -> None:  # type: ignore[misc]  # Serve awaits it
        from hftray.api.app import create_app
        from hftray.api.dependencies import ApiSettings, Services
        from hftray.api.engine_desk import EngineDesk
        from hftray.backtest.runner import answers
        from hftray.storage.database import connect

        observe.configure()
        load_plugins(chosen.strategy_files)
        settings = chosen.settings
        catalog = build_catalog(settings, connect(chosen.database_url))
        terms = backtest_terms(settings, chosen.start_day, chosen.strategy_files)
        backtest = partial(answers, terms)
        desk = EngineDesk(settings.symbols, catalog, backtest)
        await desk.follow()
        token = settings.server.api_token
        secret = token.get_secret_value() if token else None
        self._app = create_app(
            Services(
                catalog,
                desk,
                ApiSettings(
                    version=__version__,
                    default_user=settings.storage.user_id,
                    mutations_per_minute=settings.server.mutations_per_minute,
                    token=secret,
                ),
            )
        )

    def __serve_build_asgi_app__(self) -> Any:
        return self._app


class StandaloneReplica(ApiReplica):
    """A replica that starts what it does not find: database, actors, the scanning itself."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Serve awaits it
        from hftray.storage import embedded, supervision

        settings = load().settings
        given, data_dir = settings.storage.database_url, settings.storage.data_dir
        url = given.get_secret_value() if given else embedded.start(data_dir).url
        if given is None:
            supervision.watch(data_dir)
        await prepare_database(settings, url)
        chosen = replace(await plan(settings), database_url=url)
        if ray_calls.ENGINE not in ray_calls.living():
            await start_actors(chosen)
            await EngineHandle().start()
        await super().__init__(chosen)


def api_application(chosen: Plan) -> "Application":
    """The bound Serve application over actors that run already."""
    return _deployment(ApiReplica, chosen.settings.server.replicas).bind(chosen)


def standalone_application() -> "Application":
    """The bound Serve application for `serve run` and `serve deploy`."""
    return _deployment(StandaloneReplica, 1).bind()


def _deployment(replica: type, replicas: int) -> Any:
    from ray import serve

    configure = serve.deployment(
        name="api",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=2,
        health_check_period_s=2,  # how soon a dead replica is noticed
    )
    return configure(serve.ingress()(replica))
