"""Executed trades, and trades recorded by hand."""

from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Query, Response

from hftray.api.dependencies import CatalogDep, DeskDep, SettingsDep
from hftray.api.problems import declared
from hftray.api.schemas import INT32_MAX, Id, Moment, Offset, RunId, SymbolText
from hftray.api.schemas_ledger import TradeCreate, TradeView
from hftray.api.schemas_note import NoteDate, NoteView
from hftray.api.symbols import known_or_recorded, known_symbol
from hftray.catalog_rows import ManualTrade, TradeFilter
from hftray.core.charges import ChargeSchedule
from hftray.core.contract_note import contract_note
from hftray.core.errors import NotFound, RetryError
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.layers import default_file, read_yaml
from hftray.ports_catalog import CatalogPort

router = APIRouter(prefix="/api/trades", tags=["trades"])

Limit = Annotated[int, Query(ge=1, le=1000)]
StrategyFilter = Annotated[int | None, Query(ge=1, le=INT32_MAX)]
From = Annotated[Moment | None, Query(alias="from", description="Included")]
To = Annotated[Moment | None, Query(alias="to", description="Excluded")]


@router.get("", responses=declared(404, 422))
async def trades(
    catalog: CatalogDep,
    desk: DeskDep,
    symbol: SymbolText | None = None,
    side: Side | None = None,
    status: TradeStatus | None = None,
    leg: Leg | None = None,
    strategy_id: StrategyFilter = None,
    start: From = None,
    end: To = None,
    run_id: RunId = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[TradeView]:
    """Trades of the present run and those recorded by hand, newest first."""
    wanted = TradeFilter(
        run_id=desk.snapshot()["run_id"] if run_id is None else run_id,
        symbol=symbol,
        side=side,
        status=status,
        leg=leg,
        strategy_id=strategy_id,
        start=start,
        end=end,
    )
    rows = await catalog.list_trades(wanted, limit=limit, offset=offset)
    known_or_recorded(desk, symbol, bool(rows))
    return [TradeView.of(row) for row in rows]


@router.get("/contract-note", responses=declared(404, 422))
async def note(
    catalog: CatalogDep, desk: DeskDep, day: NoteDate = None, run_id: RunId = None
) -> NoteView:
    """A day's orders with every charge, rounded as a broker's contract note rounds them."""
    run = desk.snapshot()["run_id"] if run_id is None else run_id
    if run is None:
        raise RetryError("the engine has not reported yet")
    day = day or await _newest_session(catalog, run)
    trades = await catalog.session_trades(run, day)
    if not trades:
        raise NotFound(f"run {run} has no executed trade on {day}")
    return NoteView.of(run, contract_note(day, trades, charge_schedule()))


async def _newest_session(catalog: CatalogPort, run_id: int) -> date:
    sessions = await catalog.list_sessions(run_id=run_id, limit=1)
    if not sessions:
        raise NotFound(f"run {run_id} has had no trading day")
    return sessions[0].session_day


@cache
def charge_schedule() -> ChargeSchedule:
    """The charges in config/charges.yaml, read once. ConfigError."""
    return ChargeSchedule.from_mapping(read_yaml(default_file("charges.yaml")))


@router.get("/{trade_id}", responses=declared(404, 422))
async def trade(catalog: CatalogDep, trade_id: Id) -> TradeView:
    """One trade."""
    return TradeView.of(await catalog.get_trade(trade_id))


@router.post("", status_code=201, responses=declared(404, 413, 422))
async def record(
    catalog: CatalogDep,
    desk: DeskDep,
    settings: SettingsDep,
    body: TradeCreate,
    response: Response,
) -> TradeView:
    """Record a trade made elsewhere."""
    row = await catalog.record_manual_trade(
        ManualTrade(
            user_id=body.user_id or settings.default_user,
            symbol=known_symbol(desk, body.symbol),
            side=body.side,
            quantity=body.quantity,
            price=body.price,
            timestamp=body.timestamp or datetime.now(UTC),
            status=body.status,
            strategy_id=body.strategy_id,
        )
    )
    response.headers["Location"] = f"/api/trades/{row.id}"
    return TradeView.of(row)
