"""Risk, positions and the account's equity."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query

from hftray.api.dependencies import CatalogDep, DeskDep, SnapshotDep
from hftray.api.engine import ACTOR
from hftray.api.problems import declared
from hftray.api.schemas import Offset, RunId, SymbolPath, SymbolText
from hftray.api.schemas_by_hand import (
    ConfirmedView,
    ConfirmRequest,
    OrderReference,
    SettledView,
    SettleRequest,
)
from hftray.api.schemas_engine import (
    EquityPoint,
    KellyView,
    OpenPosition,
    PositionView,
    RiskEvent,
    RiskView,
)
from hftray.api.symbols import known_or_recorded, known_symbol
from hftray.api.trades import From, Limit, To
from hftray.catalog_rows import PositionRow
from hftray.core.kelly import kelly

router = APIRouter(prefix="/api", tags=["risk"])


class Openness(StrEnum):
    """Which positions to list."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


IS_OPEN = {Openness.OPEN: True, Openness.CLOSED: False, Openness.ALL: None}


@router.get("/risk", response_model=RiskView)
async def risk(snapshot: SnapshotDep) -> dict[str, Any]:
    """What risk allows, and what is used of it; before the first scan only the state."""
    return {"state": snapshot["status"]["risk_state"]} | snapshot["risk"]


@router.get("/risk/events", response_model=list[RiskEvent], responses=declared(422))
async def risk_events(
    desk: DeskDep,
    catalog: CatalogDep,
    run_id: RunId = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Any:
    """Changes of the risk state, newest first: who made them, when and why."""
    run = desk.snapshot()["run_id"] if run_id is None else run_id
    if run is None:
        return []
    return await catalog.list_risk_events(run_id=run, limit=limit, offset=offset)


@router.get("/risk/kelly", response_model=KellyView, responses=declared(422))
async def kelly_fraction(desk: DeskDep, catalog: CatalogDep, run_id: RunId = None) -> Any:
    """Kelly and half-Kelly from the closed positions."""
    run = desk.snapshot()["run_id"] if run_id is None else run_id
    return kelly(await catalog.closed_pnls(run) if run is not None else [])


@router.get("/positions", response_model=list[PositionView], responses=declared(404, 422))
async def positions(
    desk: DeskDep,
    catalog: CatalogDep,
    status: Openness = Openness.OPEN,
    symbol: SymbolText | None = None,
    run_id: RunId = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[dict[str, Any]]:
    """Positions of the present run, newest first; open ones with their last price."""
    snapshot = desk.snapshot()
    rows = await catalog.list_positions(
        run_id=snapshot["run_id"] if run_id is None else run_id,
        symbol=symbol,
        is_open=IS_OPEN[status],
        limit=limit,
        offset=offset,
    )
    known_or_recorded(desk, symbol, bool(rows))
    marks = [OpenPosition.model_validate(held) for held in snapshot["positions"]]
    by_reference = {mark.reference: mark.model_dump() for mark in marks}
    return [_flat(row) | _mark(row, by_reference) for row in rows]


@router.post(
    "/positions/{symbol}/settle",
    response_model=SettledView,
    responses=declared(404, 409, 413, 422),
)
async def settle(desk: DeskDep, symbol: SymbolPath, request: SettleRequest) -> dict[str, Any]:
    """Close in the ledger what the broker does not hold any more; no order is sent."""
    return await desk.settle(known_symbol(desk, symbol), request.price, request.reason, ACTOR)


@router.post(
    "/orders/{reference}/confirm",
    response_model=ConfirmedView,
    responses=declared(404, 409, 413, 422),
)
async def confirm(
    desk: DeskDep, reference: OrderReference, request: ConfirmRequest
) -> dict[str, Any]:
    """Say what an order of the day filled at whose trades the broker does not tell."""
    return await desk.confirm(reference, request.price, request.reason, ACTOR)


def _flat(row: PositionRow) -> dict[str, Any]:
    fields = asdict(row)
    held: dict[str, Any] = fields.pop("position")
    return held | fields


def _mark(row: PositionRow, marks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return marks.get(row.position.reference, {}) if row.closed_at is None else {}


@router.get("/equity", response_model=list[EquityPoint], responses=declared(422))
async def equity(
    desk: DeskDep,
    catalog: CatalogDep,
    start: From = None,
    end: To = None,
    run_id: RunId = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
) -> Any:
    """The newest points of the equity curve, oldest first."""
    run = desk.snapshot()["run_id"] if run_id is None else run_id
    if run is None:
        return []
    return await catalog.list_equity(run, start=start, end=end, limit=limit)
