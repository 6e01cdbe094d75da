"""What every catalogue query needs: a connection, errors in our words, common conditions."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, Table
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hftray.core.errors import Conflict, NotFound
from hftray.storage.database import UNIQUE_VIOLATION, reachable, sqlstate


class Queries:
    """Runs statements on an engine that the caller owns and disposes of."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rows(self, statement: Select[Any]) -> Sequence[RowMapping]:
        """All rows of a query."""
        async with reachable(self._engine), self._engine.connect() as connection:
            return (await connection.execute(statement)).mappings().all()

    async def one(self, statement: Select[Any], what: str) -> RowMapping:
        """The only row of a query; NotFound names `what` when there is none."""
        return required(next(iter(await self.rows(statement)), None), what)

    @asynccontextmanager
    async def writing(self, taken: str = "") -> AsyncIterator[AsyncConnection]:
        """One transaction; a unique column's second value raises Conflict with this text."""
        async with reachable(self._engine):
            try:
                async with self._engine.begin() as connection:
                    yield connection
            except IntegrityError as error:
                if sqlstate(error) != UNIQUE_VIOLATION:
                    raise
                raise Conflict(taken) from error


def required(row: RowMapping | None, what: str) -> RowMapping:
    """The row; NotFound names `what` when there is none."""
    if row is None:
        raise NotFound(f"there is no {what}")
    return row


def equal(table: Table, **wanted: object) -> list[ColumnElement[bool]]:
    """One condition for each named column whose wanted value is not None."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def between(
    column: ColumnElement[datetime], start: datetime | None, end: datetime | None
) -> list[ColumnElement[bool]]:
    """`start` inclusive, `end` exclusive, None open."""
    conditions = []
    if start is not None:
        conditions.append(column >= start)
    if end is not None:
        conditions.append(column < end)
    return conditions
