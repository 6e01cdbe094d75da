"""Try strategies on history: at once, or as a job that is asked for again."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import JSONResponse

from hftray.actors.jobs import Job
from hftray.api.dependencies import CatalogDep, DeskDep
from hftray.api.problems import InvalidFields, declared
from hftray.api.schemas_backtest import BacktestJob, BacktestRequest, BacktestResult
from hftray.backtest.order import BacktestOrder, BadOrder, choose_rows
from hftray.ports_catalog import CatalogPort

PATIENCE = 10.0
MAX_PATIENCE = 30.0
STATUS_URL = "/api/backtests/{job_id}"

router = APIRouter(tags=["backtest"])

Wait = Annotated[float, Query(ge=0, le=MAX_PATIENCE, description="Seconds until the answer is 202")]
Prefer = Annotated[
    str | None,
    Header(max_length=200, description="respond-async: 202 at once (RFC 7240)"),
]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["4f2a9c01d7e83b56"])]

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": BacktestJob,
        "description": "It takes longer: ask again at status_url",
        "headers": {
            "Location": {
                "description": "The same as status_url",
                "required": True,
                "schema": {"type": "string"},
            }
        },
    }
}


@router.post(
    "/api/backtest",
    response_model=BacktestResult,
    responses={**_ACCEPTED, **declared(404, 409, 413, 422)},
)
async def backtest(
    desk: DeskDep,
    catalog: CatalogDep,
    body: BacktestRequest,
    wait: Wait = PATIENCE,
    prefer: Prefer = None,
) -> Any:
    """Run the live engine's rules over past candles: trades, figures, equity, assumptions."""
    patience = 0.0 if "respond-async" in (prefer or "").lower() else wait
    try:
        job = await desk.backtest(await _order(body, catalog), patience)
    except BadOrder as error:
        raise InvalidFields.single(error.field, error.reason) from None
    if job.result is not None:
        return job.result
    view = _view(job)
    if job.state == "failed":
        raise RuntimeError(f"backtest {job.id}: {job.error}")
    return JSONResponse(view.model_dump(mode="json"), 202, {"Location": view.status_url})


@router.get(STATUS_URL, response_model=BacktestJob, responses=declared(404, 422))
async def backtest_job(desk: DeskDep, job_id: JobId) -> BacktestJob:
    """How far a backtest is, and its result once it is done. The newest 20 finished are kept."""
    return _view(await desk.backtest_job(job_id))


@router.delete(STATUS_URL, status_code=204, responses=declared(404, 422))
async def cancel_backtest(desk: DeskDep, job_id: JobId) -> Response:
    """Cancel a backtest that runs, and forget it."""
    await desk.cancel_backtest(job_id)
    return Response(status_code=204)


async def _order(body: BacktestRequest, catalog: CatalogPort) -> BacktestOrder:
    rows = await catalog.list_strategies()
    roster = [
        {"id": row.id, "name": row.name, "kind": row.kind, "is_active": row.is_active,
         "parameters": row.parameters}
        for row in rows
    ]  # fmt: skip
    strategies = tuple(body.strategy)
    return BacktestOrder(
        symbols=body.all_symbols,
        strategies=strategies,
        roster=choose_rows(strategies, roster, body.parameters),
        parameters=body.parameters,
        **body.model_dump(
            include={"start_date", "end_date", "initial_capital", "charges", "slippage_bps"}
        ),
        interval=body.interval,
    )


def _view(job: Job) -> BacktestJob:
    return BacktestJob(
        id=job.id,
        status_url=STATUS_URL.format(job_id=job.id),
        state=job.state,
        progress=job.progress,
        result=None if job.result is None else BacktestResult.model_validate(job.result),
        error=job.error,
    )
