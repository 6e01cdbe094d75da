"""A real PostgreSQL and Groww's own SDK, beside the stand-ins that are tested."""

import pytest
from groww_sdk import groww_sdk

from hftray.testing.postgres import database_url, engine, postgres_server

__all__ = ["database_url", "engine", "groww_sdk", "postgres_server"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Groww broker looks as often as ever, and waits a fraction of the seconds in between."""
    groww = "hftray.adapters.groww"
    monkeypatch.setattr(f"{groww}.order_changer.CONFIRM_WAITS", (0.0, 0.01, 0.02, 0.04))
    monkeypatch.setattr(f"{groww}.lane._FIRST_PAUSE", 0.05)
