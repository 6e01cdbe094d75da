"""Executed trades, and trades recorded by hand."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from hftray.api.dependencies import CatalogDep, DeskDep, SettingsDep
from hftray.api.problems import declared
from hftray.api.schemas import INT32_MAX, Id, Moment, Offset, RunId, SymbolText
from hftray.api.schemas_ledger import TradeCreate, TradeView
from hftray.api.symbols import known_or_recorded, known_symbol
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.ports_catalog import ManualTrade, TradeFilter

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
