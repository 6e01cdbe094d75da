"""What a handler may ask for: the services, injected when the application is made."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from hftray.api.desk import Desk, EngineSnapshot
from hftray.core.errors import RetryError
from hftray.ports_catalog import CatalogPort


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the API presents itself. Without a token only this machine may call it.

    `mutations_per_minute` is what one caller may change; 0 sets no limit.
    """

    version: str
    default_user: str = "default"
    mutations_per_minute: int = 0
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes need."""

    catalog: CatalogPort
    desk: Desk
    settings: ApiSettings


async def services(request: Request) -> Services:
    """The services of this application."""
    found: Services = request.app.state.services
    return found


async def catalog(request: Request) -> CatalogPort:
    """Users, strategies and the record."""
    return (await services(request)).catalog


async def desk(request: Request) -> Desk:
    """The running engine."""
    return (await services(request)).desk


async def api_settings(request: Request) -> ApiSettings:
    """How the API presents itself."""
    return (await services(request)).settings


async def snapshot(request: Request) -> EngineSnapshot:
    """The engine as of its last scan. RetryError while the engine has not reported yet."""
    held = (await services(request)).desk.snapshot()
    if not held["status"]:
        raise RetryError("the engine has not reported yet")
    return held


CatalogDep = Annotated[CatalogPort, Depends(catalog)]
DeskDep = Annotated[Desk, Depends(desk)]
SnapshotDep = Annotated[EngineSnapshot, Depends(snapshot)]
SettingsDep = Annotated[ApiSettings, Depends(api_settings)]
