"""The background scanner: its state, its signals, and the switches."""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query

from hftray.api.dependencies import CatalogDep, DeskDep, SettingsDep, SnapshotDep
from hftray.api.problems import declared
from hftray.api.schemas import SymbolPath, UserId
from hftray.api.schemas_engine import (
    EngineStatus,
    KillRequest,
    MetricsView,
    ResumeRequest,
    SignalView,
)
from hftray.api.symbols import known_symbol
from hftray.core.errors import NotFound
from hftray.core.metrics import portfolio_metrics

ACTOR = "api"
CURVE_POINTS = 50_000
"""How much of the equity curve the metrics look at: years of it at one point a minute."""

router = APIRouter(prefix="/api/engine", tags=["engine"])


@router.get("/status", response_model=EngineStatus)
async def status(snapshot: SnapshotDep) -> dict[str, Any]:
    """Is the engine running? How many scans? Capital? P&L?"""
    return snapshot["status"]


@router.get("/signals", response_model=list[SignalView], responses=declared(422))
async def signals(
    snapshot: SnapshotDep, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[dict[str, Any]]:
    """The newest signals of all symbols, as held in memory (500 at most)."""
    return snapshot["signals"][:limit]


@router.get("/signals/{symbol}", response_model=SignalView, responses=declared(404, 422))
async def latest_signal(desk: DeskDep, snapshot: SnapshotDep, symbol: SymbolPath) -> dict[str, Any]:
    """The latest signal for one symbol."""
    latest = snapshot["latest"]
    if symbol not in latest:
        raise NotFound(f"no signal for {known_symbol(desk, symbol)} yet")
    return latest[symbol]


@router.get("/metrics", response_model=MetricsView)
async def metrics(snapshot: SnapshotDep, catalog: CatalogDep) -> dict[str, Any]:
    """Win rate, drawdown, Sharpe ratio, profit factor of the present run."""
    run_id = snapshot["run_id"]
    capital = Decimal(snapshot["status"]["initial_capital"])
    if run_id is None:
        return asdict(portfolio_metrics([], [], initial_capital=capital))
    pnls = await catalog.closed_pnls(run_id)
    points = await catalog.list_equity(run_id, limit=CURVE_POINTS)
    curve = [(point.time, point.equity) for point in points]
    return asdict(portfolio_metrics(pnls, curve, initial_capital=capital))


@router.post("/start", response_model=EngineStatus, responses=declared(404, 409, 422))
async def start(
    desk: DeskDep,
    catalog: CatalogDep,
    settings: SettingsDep,
    user_id: Annotated[UserId | None, Query(description="Whose capital and keys")] = None,
) -> dict[str, Any]:
    """Start scanning, for the user who traded last unless one is named; twice is once."""
    present = desk.snapshot()["status"].get("user_id", settings.default_user)
    user = await catalog.get_user(user_id or present)
    return await desk.start(user.id)


@router.post("/stop", response_model=EngineStatus)
async def stop(desk: DeskDep) -> dict[str, Any]:
    """Stop scanning; open positions stay in the ledger."""
    return await desk.stop()


@router.post("/kill", response_model=EngineStatus, responses=declared(413, 422))
async def kill(
    desk: DeskDep, request: Annotated[KillRequest | None, Body()] = None
) -> dict[str, Any]:
    """No entries, cancel working orders, close every position."""
    return await desk.kill((request or KillRequest()).reason, ACTOR)


@router.post("/resume", response_model=EngineStatus, responses=declared(409, 413, 422))
async def resume(desk: DeskDep, request: ResumeRequest) -> dict[str, Any]:
    """Allow entries again; who does it says why."""
    return await desk.resume(request.reason, ACTOR)
