"""Users and strategies in PostgreSQL. Every change of a strategy raises the roster's version."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hftray.catalog_rows import (
    GrowwCredentials,
    NewUser,
    StrategyChanges,
    StrategyRow,
    UserChanges,
    UserRow,
)
from hftray.core.errors import NotFound
from hftray.storage.queries import Queries, required
from hftray.storage.rows import strategy_of, user_of, values_of
from hftray.storage.secrets import SecretBox
from hftray.storage.tables import catalog_state, strategies, users

SECRET_COLUMNS = ("groww_api_key", "groww_api_secret")


class Accounts(Queries):
    """The part of `CatalogPort` that people change."""

    def __init__(self, engine: AsyncEngine, box: SecretBox) -> None:
        super().__init__(engine)
        self._box = box

    async def list_strategies(self) -> list[StrategyRow]:
        """All strategies, by id."""
        rows = await self.rows(select(strategies).order_by(strategies.c.id))
        return [strategy_of(row) for row in rows]

    async def get_strategy(self, strategy_id: int) -> StrategyRow:
        """One strategy. NotFound."""
        wanted = select(strategies).where(strategies.c.id == strategy_id)
        return strategy_of(await self.one(wanted, f"strategy {strategy_id}"))

    async def create_strategy(
        self,
        *,
        name: str,
        description: str,
        kind: str,
        is_active: bool,
        parameters: dict[str, Any],
    ) -> StrategyRow:
        """Add a strategy. Conflict."""
        statement = insert(strategies).values(
            name=name,
            description=description,
            kind=kind,
            is_active=is_active,
            parameters=parameters,
        )
        async with self.writing(f"a strategy named {name!r} exists") as connection:
            row = (await connection.execute(statement.returning(strategies))).mappings().one()
            await _bump_roster(connection)
        return strategy_of(row)

    async def update_strategy(self, strategy_id: int, changes: StrategyChanges) -> StrategyRow:
        """Set what `changes` holds. NotFound, Conflict."""
        if not changes:
            return await self.get_strategy(strategy_id)
        statement = update(strategies).where(strategies.c.id == strategy_id).values(dict(changes))
        conflict = f"a strategy named {changes.get('name')!r} exists"
        async with self.writing(conflict) as connection:
            found = await connection.execute(statement.returning(strategies))
            row = required(found.mappings().one_or_none(), f"strategy {strategy_id}")
            await _bump_roster(connection)
        return strategy_of(row)

    async def delete_strategy(self, strategy_id: int) -> None:
        """Remove a strategy; its trades stay. NotFound."""
        statement = delete(strategies).where(strategies.c.id == strategy_id)
        async with self.writing() as connection:
            if not (await connection.execute(statement)).rowcount:
                raise NotFound(f"there is no strategy {strategy_id}")
            await _bump_roster(connection)

    async def get_user(self, user_id: str) -> UserRow:
        """One user. NotFound."""
        return user_of(await self._user(user_id))

    async def create_user(self, user: NewUser) -> UserRow:
        """Add a user. Conflict."""
        statement = insert(users).values(self._sealed(values_of(user)))
        async with self.writing(_user_conflict(user.id, user.email)) as connection:
            row = (await connection.execute(statement.returning(users))).mappings().one()
        return user_of(row)

    async def update_user(self, user_id: str, changes: UserChanges) -> UserRow:
        """Set what `changes` holds. NotFound, Conflict."""
        if not changes:
            return await self.get_user(user_id)
        statement = update(users).where(users.c.id == user_id).values(self._sealed(changes))
        async with self.writing(_user_conflict(user_id, changes.get("email"))) as connection:
            found = await connection.execute(statement.returning(users))
            row = required(found.mappings().one_or_none(), f"user {user_id!r}")
        return user_of(row)

    async def groww_credentials(self, user_id: str) -> GrowwCredentials | None:
        """The user's keys, None unless both are set. NotFound; StopError on a wrong secret key."""
        row = await self._user(user_id)
        tokens = [row[name] for name in SECRET_COLUMNS]
        if None in tokens:
            return None
        return GrowwCredentials(*(self._box.decrypt(token) for token in tokens))

    async def _user(self, user_id: str) -> RowMapping:
        return await self.one(select(users).where(users.c.id == user_id), f"user {user_id!r}")

    def _sealed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        sealed = dict(values)
        for name in SECRET_COLUMNS:
            if name in sealed:
                sealed[name] = self._box.encrypt(sealed[name]) if sealed[name] else None
        return sealed


def _user_conflict(user_id: str, email: str | None) -> str:
    return f"a user with the id {user_id!r} or the email {email!r} exists"


async def _bump_roster(connection: AsyncConnection) -> None:
    await connection.execute(
        update(catalog_state).values(roster_version=catalog_state.c.roster_version + 1)
    )
