"""Try a strategy on history."""

from typing import Any

from fastapi import APIRouter

from hftray.api.dependencies import DeskDep
from hftray.api.desk import BacktestOrder
from hftray.api.problems import declared
from hftray.api.schemas_market import BacktestRequest, BacktestResult
from hftray.core.errors import NotFound
from hftray.strategies.registry import known_kinds, make_voters

ENSEMBLE = "ensemble"

router = APIRouter(prefix="/api/backtest", tags=["backtest"])


def strategy_names() -> list[str]:
    """What a backtest can run: the ensemble, a kind, or one voter of a kind that casts several."""
    names = [ENSEMBLE]
    for kind in known_kinds():
        variants = [voter.variant for voter in make_voters(kind, {}) if voter.variant]
        names += [kind, *(f"{kind}:{variant}" for variant in variants)]
    return names


@router.post("", response_model=BacktestResult, responses=declared(404, 409, 413, 422))
async def backtest(desk: DeskDep, body: BacktestRequest) -> dict[str, Any]:
    """Run the same engine over past candles: trades, metrics and the equity curve."""
    names = strategy_names()
    if body.strategy not in names:
        raise NotFound(f"unknown strategy {body.strategy}; known are {', '.join(names)}")
    return await desk.backtest(BacktestOrder(**body.model_dump()))
