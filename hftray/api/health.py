"""Is it alive, and what is it?"""

from fastapi import APIRouter

from hftray.api.dependencies import SettingsDep, SnapshotDep
from hftray.api.schemas_engine import Health, Welcome

router = APIRouter(tags=["health"])
open_router = APIRouter(tags=["health"])


@router.get("/")
async def welcome(snapshot: SnapshotDep, settings: SettingsDep) -> Welcome:
    """What this is, whether the engine runs, where the documentation is."""
    status = snapshot["status"]
    engine = "running" if status["running"] else "stopped"
    return Welcome(version=settings.version, engine=engine, mode=status["mode"])


@open_router.get("/health")
async def health(settings: SettingsDep) -> Health:
    """The process answers; needs no token."""
    return Health(version=settings.version)
