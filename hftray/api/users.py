"""Users: profile, capital, and the Groww keys, which go in but never out."""

from typing import Any, cast
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import SecretStr

from hftray.api.dependencies import CatalogDep
from hftray.api.problems import InvalidFields, declared
from hftray.api.schemas import Body, UserId
from hftray.api.schemas_ledger import UserCreate, UserPatch, UserView
from hftray.catalog_rows import NewUser, UserChanges

router = APIRouter(prefix="/api/users", tags=["users"])


def _given(body: Body) -> dict[str, Any]:
    fields = body.model_dump(exclude_unset=True)
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in fields.items()
    }


@router.get("/{user_id}", response_model=UserView, responses=declared(404, 422))
async def user(catalog: CatalogDep, user_id: UserId) -> Any:
    """A user's profile."""
    return await catalog.get_user(user_id)


@router.post("", status_code=201, response_model=UserView, responses=declared(409, 413, 422))
async def create(catalog: CatalogDep, body: UserCreate, response: Response) -> Any:
    """A new user."""
    given = {name: value for name, value in _given(body).items() if value is not None}
    created = await catalog.create_user(NewUser(**({"id": uuid4().hex} | given)))
    response.headers["Location"] = f"/api/users/{created.id}"
    return created


@router.patch("/{user_id}", response_model=UserView, responses=declared(404, 409, 413, 422))
async def update(catalog: CatalogDep, user_id: UserId, body: UserPatch) -> Any:
    """Set the Groww keys, the initial capital, or the profile."""
    changes = _given(body)
    if changes.get("initial_capital", 0) is None:
        raise InvalidFields.single("initial_capital", "null is no amount; leave it out to keep it")
    return await catalog.update_user(user_id, cast(UserChanges, changes))
