"""Symbols, candles with indicators and patterns, and the recorded signals."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from hftray.api.dependencies import CatalogDep, DeskDep
from hftray.api.problems import InvalidFields, declared
from hftray.api.schemas import NO_NUL, Offset, RunId, SymbolPath, SymbolText
from hftray.api.schemas_engine import SignalView
from hftray.api.schemas_market import CandleView, MarketView, PatternHit
from hftray.api.symbols import known_or_recorded
from hftray.api.trades import From, Limit, To
from hftray.core.candles import Candles, Floats
from hftray.core.indicators import INDICATORS, indicator_columns
from hftray.core.patterns import pattern_history

WARM_UP = 275
"""Candles before the first one shown, so that its indicators have converged (decision 1)."""

router = APIRouter(prefix="/api", tags=["market"])

_ITEM = f" *({'|'.join(INDICATORS)})? *"

IndicatorList = Annotated[
    str,
    Query(
        max_length=200,
        pattern=NO_NUL,
        description=f"Separated by commas, of: {', '.join(INDICATORS)}",
        json_schema_extra={"pattern": f"^{_ITEM}(,{_ITEM})*$"},
        examples=["rsi,macd"],
    ),
]


@router.get("/symbols")
async def symbols(desk: DeskDep) -> list[str]:
    """The symbols the engine trades."""
    return list(desk.symbols())


@router.get("/market/{symbol}", responses=declared(404, 422))
async def market(
    desk: DeskDep,
    symbol: SymbolPath,
    limit: Limit = 100,
    indicators: IndicatorList = "",
    patterns: bool = False,
) -> MarketView:
    """The newest candles of a symbol, with indicators and candlestick patterns on request."""
    names = _known(indicators)
    warm_up = WARM_UP if names or patterns else 0
    rows = await desk.candles(symbol, limit + warm_up)
    candles = Candles.of(rows)
    columns = indicator_columns(names, candles)
    return MarketView(
        symbol=symbol,
        candles=[CandleView.model_validate(row) for row in rows[-limit:]],
        indicators={name: _numbers(column[-limit:]) for name, column in columns.items()},
        patterns=_hits(candles, limit) if patterns else [],
    )


def _known(listed: str) -> Sequence[str]:
    names = [name for part in listed.split(",") if (name := part.strip(" "))]
    unknown = [name for name in names if name not in INDICATORS]
    if unknown:
        message = f"unknown: {', '.join(unknown)}; known are {', '.join(INDICATORS)}"
        raise InvalidFields.single("indicators", message)
    return names


def _numbers(column: Floats) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]


def _hits(candles: Candles, limit: int) -> list[PatternHit]:
    """Patterns completed by the last `limit` candles, by time."""
    first = max(0, len(candles) - limit)
    found = [
        PatternHit(
            time=datetime.fromtimestamp(int(candles.time[index]), UTC),
            name=name,
            value=int(values[index]),
        )
        for name, values in pattern_history(candles).items()
        for index in range(first, len(candles))
        if values[index]
    ]
    return sorted(found, key=lambda hit: (hit.time, hit.name))


@router.get("/signals", response_model=list[SignalView], responses=declared(404, 422))
async def recorded_signals(
    desk: DeskDep,
    catalog: CatalogDep,
    symbol: SymbolText | None = None,
    start: From = None,
    end: To = None,
    run_id: RunId = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Any:
    """Signals of closed candles, as recorded, newest first."""
    found = await catalog.list_signals(
        run_id=desk.snapshot()["run_id"] if run_id is None else run_id,
        symbol=symbol,
        start=start,
        end=end,
        limit=limit,
        offset=offset,
    )
    known_or_recorded(desk, symbol, bool(found))
    return found
