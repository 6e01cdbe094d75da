"""`hftray.ports_catalog.CatalogPort` in PostgreSQL."""

from hftray.storage.accounts import Accounts
from hftray.storage.history import History


class Catalog(Accounts, History):
    """Users, strategies and the record, for the API.

    `Catalog(engine, box)`: the caller owns the engine; the box encrypts the users' Groww keys.
    """
