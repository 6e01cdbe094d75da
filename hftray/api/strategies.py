"""The strategies that vote: list, add, toggle, change, remove."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from fastapi import APIRouter, Response

from hftray.api.dependencies import CatalogDep, DeskDep
from hftray.api.desk import Desk
from hftray.api.problems import InvalidFields, declared
from hftray.api.schemas import Id
from hftray.api.schemas_ledger import StrategyCreate, StrategyPatch, StrategyView
from hftray.catalog_rows import StrategyChanges
from hftray.core.errors import RetryError
from hftray.strategies.registry import BadStrategy, check_parameters

router = APIRouter(prefix="/api/strategies", tags=["strategies"])


def _complete(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return check_parameters(kind, raw).model_dump(mode="json")
    except BadStrategy as error:
        raise InvalidFields.single(error.field, error.reason) from None


async def _notify(desk: Desk) -> None:
    # Only a hint: the engine compares the table's version before every scan, so a change that is
    # stored counts even when the engine cannot be told.
    with suppress(RetryError):
        await desk.strategies_changed()


@router.get("", response_model=list[StrategyView])
async def strategies(catalog: CatalogDep) -> Any:
    """All strategies with their on/off state."""
    return await catalog.list_strategies()


@router.get("/{strategy_id}", response_model=StrategyView, responses=declared(404, 422))
async def strategy(catalog: CatalogDep, strategy_id: Id) -> Any:
    """One strategy."""
    return await catalog.get_strategy(strategy_id)


@router.post("", status_code=201, response_model=StrategyView, responses=declared(409, 413, 422))
async def create(
    catalog: CatalogDep, desk: DeskDep, body: StrategyCreate, response: Response
) -> Any:
    """Add a strategy of a known kind; it votes from the next scan."""
    created = await catalog.create_strategy(
        name=body.name,
        description=body.description,
        kind=body.kind,
        is_active=body.is_active,
        parameters=_complete(body.kind, body.parameters),
    )
    await _notify(desk)
    response.headers["Location"] = f"/api/strategies/{created.id}"
    return created


@router.patch(
    "/{strategy_id}",
    response_model=StrategyView,
    responses=declared(404, 409, 413, 422),
)
async def update(catalog: CatalogDep, desk: DeskDep, strategy_id: Id, body: StrategyPatch) -> Any:
    """Toggle a strategy or change it; this acts from the next scan."""
    before = await catalog.get_strategy(strategy_id)
    changes = body.model_dump(exclude_none=True)
    if "parameters" in changes:
        changes["parameters"] = _complete(before.kind, before.parameters | changes["parameters"])
    updated = await catalog.update_strategy(strategy_id, cast(StrategyChanges, changes))
    await _notify(desk)
    return updated


@router.delete("/{strategy_id}", status_code=204, responses=declared(404, 422))
async def remove(catalog: CatalogDep, desk: DeskDep, strategy_id: Id) -> None:
    """Remove a strategy; its trades stay."""
    await catalog.delete_strategy(strategy_id)
    await _notify(desk)
