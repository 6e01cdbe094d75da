"""The application, put together: routers, documentation, errors, and who may call."""

from functools import partial
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline

from hftray.api import backtest, engine, health, market, problems, risk, strategies, trades, users
from hftray.api.dependencies import Services
from hftray.api.headers import DOCS_PATH, HeadAsGet, SecurityHeaders
from hftray.api.limits import NEVER_REFUSED, Allowance, MutationLimit
from hftray.api.problems import Problem, declared
from hftray.api.security import SAFE_METHODS, BodyLimit, Gate

BURST_SHARE = 4
"""A quarter of a minute's calls may come at once."""

NOUNS = (health, engine, strategies, trades, users, market, risk, backtest)

DESCRIPTION = """Trades NSE shares by itself; these calls watch it, steer it and read its record.

Money and the prices of orders are decimal strings, market data are numbers, times carry India's
offset. Errors are problem documents (RFC 9457); 422 names the fields.
"""


def create_app(services: Services) -> FastAPI:
    """The REST API over these services."""
    token = services.settings.token
    app = FastAPIOffline(
        title="hftray",
        version=services.settings.version,
        description=DESCRIPTION,
        docs_url=DOCS_PATH,
        redoc_url=None,
        static_url=f"{DOCS_PATH}/assets",
        # Swagger UI would send the document to its validator in the internet.
        swagger_ui_parameters={"validatorUrl": None},
        redirect_slashes=False,
    )
    app.state.services = services
    app.include_router(health.open_router, responses=declared(500))
    guarded = declared(401, 500, 503) if token is not None else declared(403, 500, 503)
    bearer = [Depends(HTTPBearer(auto_error=False))] if token is not None else []
    for noun in NOUNS:
        app.include_router(noun.router, responses=guarded, dependencies=bearer)
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(HeadAsGet)
    if (rate := services.settings.mutations_per_minute) > 0:
        allowance = Allowance(per_minute=rate, burst=max(1, rate // BURST_SHARE))
        app.add_middleware(MutationLimit, allowance=allowance, has_token=token is not None)
    app.add_middleware(Gate, token=token)
    app.add_middleware(SecurityHeaders)
    app.openapi = partial(_document, app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document with the schema that all errors share; made when first asked for."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas: dict[str, Any] = document["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs")
        schemas["Problem"] = problem
        if app.state.services.settings.mutations_per_minute > 0:
            _declare_rate_limit(document)
        app.openapi_schema = document
    return app.openapi_schema


def _declare_rate_limit(document: dict[str, Any]) -> None:
    """429 at every operation that counts."""
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            if verb.upper() not in SAFE_METHODS and path not in NEVER_REFUSED:
                operation["responses"] |= {str(s): entry for s, entry in declared(429).items()}
